import { createServer, type Socket } from "node:net";
import { MODEL, PIECES } from "./traffic.ts";

// An OpenAI that answers at once, always the same, in one write. It reads of a request only where it ends.

const base = { id: "chatcmpl-1", object: "chat.completion.chunk", created: 1, model: MODEL };
const chunk = (delta: object, finish_reason: string | null = null) => ({
  ...base,
  choices: [{ index: 0, delta, finish_reason }],
  usage: null,
});
const events = [
  chunk({ role: "assistant", content: "" }),
  ...PIECES.map((content) => chunk({ content })),
  chunk({}, "stop"),
  { ...base, choices: [], usage: { prompt_tokens: 40, completion_tokens: 17 } },
];
const stream = [...events.map((event) => JSON.stringify(event)), "[DONE]"].map((data) => `data: ${data}\n\n`).join("");
const models = JSON.stringify({
  object: "list",
  data: [{ id: MODEL, object: "model", created: 1, owned_by: "bench" }],
});

const completion = Buffer.from(
  `HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n${stream.length.toString(16)}\r\n${stream}\r\n0\r\n\r\n`,
);
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
      socket.write(held.startsWith("POST /v1/chat/completions ") ? completion : listing);
      held = held.slice(end);
    }
  });
}

/** Where the first request ends, by its Content-Length; -1 while its head is not whole. */
function endOfRequest(text: string): number {
  const head = text.indexOf("\r\n\r\n");
  if (head === -1) return -1;
  const length = /\r\ncontent-length: *(\d+)/i.exec(text.slice(0, head))?.[1] ?? "0";
  return head + 4 + Number(length);
}

const server = createServer(serve).listen(0, "127.0.0.1", () => {
  const address = server.address();
  if (typeof address !== "object" || address === null) throw new Error("no port");
  console.log(JSON.stringify({ url: `http://127.0.0.1:${address.port}/v1` }));
});
