import { connect, type Socket } from "node:net";
import type { Filled } from "./bounds-database.ts";
import type { Edited } from "./bounds-edits.ts";

/** What one client can do to make a service hold much: it asks for much, and takes none of it. */

const MiB = 2 ** 20;
/** A user's open streams, by default, and what a body may have. */
const STREAMS = 98;
const BODY = MiB;

export type Attack = { what: string; begin(): Promise<Socket[]> };

type Target = Filled & { url: string; authorization: string; edited: Edited };

/** Every way to make a service hold long answers and bodies, as far as one user's limits let it. */
export function attacksOn({
  url,
  authorization,
  thread,
  turned,
  edited,
}: Target & { turned: readonly string[] }): Attack[] {
  const open = (text: string) => opened(url, text);
  const headOf = (method: string, path: string, headers: string[]) =>
    `${method} ${path} HTTP/1.1\r\n${["Host: localhost", ...headers].join("\r\n")}\r\n\r\n`;
  const unread = (path: string) => () =>
    Promise.all(Array.from({ length: STREAMS }, () => open(headOf("GET", path, [authorization]))));
  const stalled = (path: string, headers: string[], count: number) => () => {
    const all = [...headers, "Content-Type: application/json", `Content-Length: ${BODY}`];
    const body = "x".repeat(BODY - 1);
    return Promise.all(Array.from({ length: count }, () => open(headOf("POST", path, all) + body)));
  };
  const signed = ["X-Api-Key: key", `X-Signature: ${"0".repeat(64)}`];
  const turns = () =>
    Promise.all(
      turned.map((chat_id) => {
        const body = JSON.stringify({ chat_id, message: "And now?" });
        const headers = [authorization, "Content-Type: application/json", `Content-Length: ${body.length}`];
        return open(headOf("POST", "/chat", headers) + body);
      }),
    );
  const edits = () =>
    Promise.all(
      edited.editable.flatMap((id) =>
        Array.from({ length: 98 }, (_, n) => {
          const body = JSON.stringify({ content: `edit ${n}` });
          const headers = [authorization, "Content-Type: application/json", `Content-Length: ${body.length}`];
          return open(headOf("PATCH", `/api/v1/messages/${id}`, headers) + body);
        }),
      ),
    );
  return [
    { what: "unread event streams", begin: unread(`/api/v1/sessions/${thread}/events`) },
    { what: "unread pages of a chat", begin: unread(`/chats/${thread}/messages?limit=500`) },
    { what: "unread lists of conversations", begin: unread("/conversations/?limit=1000") },
    { what: "unread conversations", begin: unread(`/conversations/${thread}/`) },
    { what: "unread pages of a session", begin: unread(`/api/v1/sessions/${thread}/messages?limit=500`) },
    { what: "unread sessions", begin: unread(`/api/v1/sessions/${thread}`) },
    { what: "unread transcripts", begin: unread(`/api/v1/sessions/${thread}/transcript?format=text`) },
    { what: "unread messages with all that they may have", begin: unread(`/api/v1/messages/${edited.fullest}`) },
    { what: "unread event streams of these", begin: unread(`/api/v1/sessions/${edited.session}/events`) },
    { what: "unread exports of these", begin: unread("/api/v1/users/alice/export") },
    { what: "unread answers to edits", begin: edits },
    { what: "turns over long threads", begin: turns },
    { what: "unsigned webhooks that stall", begin: stalled("/webhooks/stream", signed, 500) },
    { what: "bodies that stall", begin: stalled("/chats", [authorization], 200) },
  ];
}

/** A connection over which nothing is read, once all is written that the other side takes. */
function opened(url: string, text: string): Promise<Socket> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve) => {
    const socket = connect(Number(port), hostname, () => {
      socket.write(text);
      resolve(socket);
    });
    socket.on("error", () => resolve(socket));
  });
}
