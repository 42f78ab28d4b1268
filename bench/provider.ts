import { createServer, type Socket } from "node:net";
import { MODEL, manners } from "./traffic.ts";

// An OpenAI that always says the same, in the manner that the path names. It reads of a request only where it ends.

const base = { id: "chatcmpl-1", object: "chat.completion.chunk", created: 1, model: MODEL };
const chunk = (delta: object, finish_reason: string | null = null) => ({
  ...base,
  choices: [{ index: 0, delta, finish_reason }],
  usage: null,
});
const end = [chunk({}, "stop"), { ...base, choices: [], usage: { prompt_tokens: 40, completion_tokens: 17 } }];

function eventsOf(pieces: readonly string[], isWhole: boolean): string {
  const events = [chunk({ role: "assistant", content: "" }), ...pieces.map((content) => chunk({ content }))];
  const texts = (isWhole ? [...events, ...end] : events).map((event) => JSON.stringify(event));
  return [...texts, ...(isWhole ? ["[DONE]"] : [])].map((data) => `data: ${data}\n\n`).join("");
}

const HEAD = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
const answers = new Map(
  Object.entries(manners).map(([manner, { pieces, afterMs, stalls }]) => {
    const events = eventsOf(stalls ? pieces.slice(0, 1) : pieces, !stalls);
    const bytes = Buffer.from(`${HEAD}${events.length.toString(16)}\r\n${events}\r\n${stalls ? "" : "0\r\n\r\n"}`);
    return [manner, { bytes, afterMs }];
  }),
);

const models = JSON.stringify({
  object: "list",
  data: [{ id: MODEL, object: "model", created: 1, owned_by: "bench" }],
});
const listing = Buffer.from(
  `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${models.length}\r\n\r\n${models}`,
);

function serve(socket: Socket): void {
  let held = "";
  socket.setNoDelay(true).setEncoding("latin1");
  socket.on("error", () => socket.destroy());
  socket.on("data", (text) => {
    held += text;
    for (let end = endOfRequest(held); end !== -1 && end <= held.length; end = endOfRequest(held)) {
      answer(socket, /^POST \/([\w-]+)\/v1\/chat\/completions /.exec(held)?.[1]);
      held = held.slice(end);
    }
  });
}

function answer(socket: Socket, manner: string | undefined): void {
  const { bytes, afterMs } = answers.get(manner ?? "") ?? { bytes: listing, afterMs: 0 };
  if (afterMs === 0) socket.write(bytes);
  else setTimeout(() => socket.write(bytes), afterMs);
}

/** Where the first request ends, by its Content-Length; -1 while its head is not whole. */
function endOfRequest(text: string): number {
  const head = text.indexOf("\r\n\r\n");
  if (head === -1) return -1;
  const length = /\r\ncontent-length: *(\d+)/i.exec(text.slice(0, head))?.[1] ?? "0";
  return head + 4 + Number(length);
}

const server = createServer(serve).listen({ host: "127.0.0.1", port: 0, backlog: 8192 }, () => {
  const address = server.address();
  if (typeof address !== "object" || address === null) throw new Error("no port");
  console.log(JSON.stringify({ url: `http://127.0.0.1:${address.port}` }));
});
