import { createServer, type IncomingMessage } from "node:http";
import { Agent } from "undici";
import { newId } from "../src/core/id.ts";
import { postgresStore } from "./floor-postgres.ts";
import { sqliteStore } from "./floor-sqlite.ts";

// The least that a turn can be on Node: the same reads and writes and the same call out as Parley's, and nothing else. No
// validation, no scopes, no timers, no log, no group commit. What Parley is measured against.

export type Turn = {
  conversationId: string;
  isNew: boolean;
  turnId: string;
  questionId: string;
  answerId: string;
  content: string;
  now: number;
};
export type Answer = {
  content: string;
  target: string;
  finishReason: string;
  usage: object;
  attempts: object;
  context: object;
  now: number;
};
export type Shown = { role: string; content: string };

/** The reads and writes of a turn. `seq` is the answer's. */
export type Store = {
  begin(turn: Turn): number | Promise<number>;
  context(conversationId: string, seq: number): Shown[] | Promise<Shown[]>;
  finish(turn: Turn, seq: number, answer: Answer): unknown;
};

const [databaseUrl = "", providerUrl = ""] = process.argv.slice(2);
const provider = new URL(providerUrl);
const agent = new Agent({ headersTimeout: 0, bodyTimeout: 0, keepAliveTimeout: 30_000 });
const store = databaseUrl.startsWith("postgres") ? await postgresStore(databaseUrl) : sqliteStore(databaseUrl);

const server = createServer(async (request, response) => {
  const { message, conversation_id } = JSON.parse(await textOf(request));
  const turn: Turn = {
    conversationId: conversation_id ?? newId(),
    isNew: conversation_id === undefined,
    turnId: newId(),
    questionId: newId(),
    answerId: newId(),
    content: message,
    now: Date.now(),
  };
  const seq = await store.begin(turn);
  const shown = await store.context(turn.conversationId, seq);
  const answer = await complete(shown.reverse());
  await store.finish(turn, seq, answer);
  const body = JSON.stringify({
    conversation_id: turn.conversationId,
    message: answer.content,
    timestamp: new Date(answer.now).toISOString(),
    message_id: turn.answerId,
    turn_id: turn.turnId,
    model: answer.target,
  });
  response.writeHead(200, { "content-type": "application/json", "content-length": Buffer.byteLength(body) });
  response.end(body);
});

async function complete(messages: Shown[]): Promise<Answer> {
  const started = performance.now();
  const { body } = await agent.request({
    origin: provider.origin,
    path: `${provider.pathname}/chat/completions`,
    method: "POST",
    headers: { "content-type": "application/json", authorization: "Bearer none" },
    body: JSON.stringify({
      model: "bench-model",
      messages,
      stream: true,
      stream_options: { include_usage: true },
    }),
  });
  let content = "";
  let finishReason = "";
  let usage: object = {};
  for (const event of (await body.text()).split("\n\n")) {
    if (event === "" || event === "data: [DONE]") continue;
    const chunk = JSON.parse(event.slice(6));
    content += chunk.choices[0]?.delta.content ?? "";
    finishReason = chunk.choices[0]?.finish_reason ?? finishReason;
    usage = chunk.usage ?? usage;
  }
  const target = "openai/bench-model";
  const attempts = [{ target, outcome: "completed", status: null, ms: Math.round(performance.now() - started), usage }];
  const context = { messages: messages.length, omitted: 0, estimated_tokens: 0 };
  return { content, target, finishReason, usage, attempts, context, now: Date.now() };
}

function textOf(request: IncomingMessage): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = "";
    request.setEncoding("utf8");
    request.on("data", (part) => {
      text += part;
    });
    request.on("end", () => resolve(text));
    request.on("error", reject);
  });
}

server.listen(0, "127.0.0.1", () => {
  const address = server.address();
  if (typeof address !== "object" || address === null) throw new Error("no port");
  console.log(JSON.stringify({ url: `http://127.0.0.1:${address.port}` }));
});

process.on("SIGTERM", () => process.exit()); // a profiler writes what it has at an orderly exit
