import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { onTestFinished } from "vitest";

/** One delivery as it came over the wire. */
export type Received = {
  path: string;
  headers: IncomingHttpHeaders;
  text: string;
  // biome-ignore lint/suspicious/noExplicitAny: a test reads whatever JSON came
  json: any;
  /** The conversation that it is about. */
  about: string;
};

/** How the receiver answers one delivery; 204 if nothing is said. */
export type Reply = {
  status?: number;
  headers?: Record<string, string>;
  /** Waited for before the answer. */
  after?: Promise<unknown>;
  /** Never answers; or resets the connection; or answers with a body that never ends. */
  how?: "hang" | "cut" | "endless";
};

export type Receiver = {
  url: string;
  received: Received[];
  of(conversationId: string): Received[];
  /** Requests that are not over yet. */
  open(): number;
  behave(reply: (received: Received) => Reply): void;
  close(): Promise<void>;
};

/** Somebody's HTTP server, at a port of its own or the one given. */
export async function startReceiver(port = 0): Promise<Receiver> {
  let reply: (received: Received) => Reply = () => ({});
  const received: Received[] = [];
  let open = 0;
  const server = createServer(async (request, response) => {
    open++;
    response.on("close", () => open--);
    const one = await readDelivery(request);
    received.push(one);
    await answer(response, reply(one));
  });
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hooks?for=parley`,
    received,
    of: (id) => received.filter(({ about }) => about === id),
    open: () => open,
    behave(next) {
      reply = next;
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** The same until the test is over. */
export async function receiverForTest(): Promise<Receiver> {
  const receiver = await startReceiver();
  onTestFinished(() => receiver.close());
  return receiver;
}

async function readDelivery(request: IncomingMessage): Promise<Received> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk);
  const text = Buffer.concat(chunks).toString();
  const json = JSON.parse(text);
  const about = json.data.id ?? json.data.session.id;
  return { path: request.url ?? "", headers: request.headers, text, json, about };
}

async function answer(response: ServerResponse, { status = 204, headers = {}, after, how }: Reply): Promise<void> {
  await after;
  if (how === "hang") return;
  if (how === "cut") return void response.socket?.resetAndDestroy();
  response.writeHead(status, headers);
  if (how !== "endless") return void response.end();
  const timer = setInterval(() => response.write("more "), 5);
  response.on("close", () => clearInterval(timer));
}

const TOLERANCE_S = 300;

/** A receiver's side of Standard Webhooks 1.0.0, by its text and WebCrypto: whether one of the signatures is good. */
export async function verifies(
  secret: string,
  { headers, text }: Pick<Received, "headers" | "text">,
): Promise<boolean> {
  const [id, timestamp, signatures] = ["id", "timestamp", "signature"].map((name) =>
    String(headers[`webhook-${name}`]),
  );
  if (!/^\d+$/.test(timestamp ?? "") || Math.abs(Date.now() / 1000 - Number(timestamp)) > TOLERANCE_S) return false;
  const bytes = Uint8Array.from(atob(secret.replace(/^whsec_/, "")), (letter) => letter.charCodeAt(0));
  const key = await crypto.subtle.importKey("raw", bytes, { name: "HMAC", hash: "SHA-256" }, false, ["verify"]);
  const content = new TextEncoder().encode(`${id}.${timestamp}.${text}`);
  for (const signature of signatures?.split(" ") ?? []) {
    const [version, encoded = ""] = signature.split(",");
    const given = Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0));
    if (version === "v1" && (await crypto.subtle.verify("HMAC", key, given, content))) return true;
  }
  return false;
}
