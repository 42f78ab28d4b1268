import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { Agent } from "undici";
import { newId } from "../src/core/id.ts";
import { postgresStore } from "./floor-postgres.ts";
import { sqliteStore } from "./floor-sqlite.ts";

// The least that a turn or a list can be on Node: the same reads and writes and the same call out as Parley's, and nothing
// else. No validation, no scopes, no timers, no log, no group commit. What Parley is measured against.

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
export type Row = Record<string, string | number | null>;

/** The reads and writes. `seq` is the answer's. */
export type Store = {
  begin(turn: Turn): number | Promise<number>;
  context(conversationId: string, seq: number): Shown[] | Promise<Shown[]>;
  finish(turn: Turn, seq: number, answer: Answer): unknown;
  create(row: { id: string; title: string; now: number }): unknown;
  /** One row more than the page has, and how many there are. */
  list(user: string, limit: number): [Row[], number] | Promise<[Row[], number]>;
  last(user: string, conversationId: string, limit: number): Row[] | Promise<Row[]>;
};

const [databaseUrl = "", providerUrl = ""] = process.argv.slice(2);
const provider = new URL(providerUrl);
const agent = new Agent({ headersTimeout: 0, bodyTimeout: 0, keepAliveTimeout: 30_000 });
const store = databaseUrl.startsWith("postgres") ? await postgresStore(databaseUrl) : sqliteStore(databaseUrl);

const USER = "anonymous";

const server = createServer(async (request, response) => {
  const url = new URL(request.url ?? "/", "http://floor");
  const user = url.searchParams.get("user_id") ?? USER;
  const limit = Number(url.searchParams.get("limit"));
  if (request.method === "GET" && url.pathname === "/chats") return send(response, 200, await list(user, limit));
  if (request.method === "GET") {
    const rows = await store.last(user, url.pathname.split("/")[2] ?? "", limit + 1);
    return send(response, 200, rows.slice(0, limit).reverse().map(toMessage));
  }
  const body = JSON.parse(await textOf(request));
  if (url.pathname === "/chats") return send(response, 201, await create(body.title));
  await (body.stream ? streamTurn(response, turnOf(body)) : answerTurn(response, turnOf(body)));
});

function turnOf({ message, conversation_id }: { message: string; conversation_id?: string }): Turn {
  return {
    conversationId: conversation_id ?? newId(),
    isNew: conversation_id === undefined,
    turnId: newId(),
    questionId: newId(),
    answerId: newId(),
    content: message,
    now: Date.now(),
  };
}

async function answerTurn(response: ServerResponse, turn: Turn): Promise<void> {
  const seq = await store.begin(turn);
  const answer = await complete(await store.context(turn.conversationId, seq), () => {});
  await store.finish(turn, seq, answer);
  send(response, 200, {
    conversation_id: turn.conversationId,
    message: answer.content,
    timestamp: timeOf(answer.now),
    message_id: turn.answerId,
    turn_id: turn.turnId,
    model: answer.target,
  });
}

async function streamTurn(response: ServerResponse, turn: Turn): Promise<void> {
  const seq = await store.begin(turn);
  response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-cache, no-transform" });
  const tell = (event: string, id: string, data: object) =>
    response.write(`id: ${id}\nevent: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
  tell("turn.started", "", { turn_id: turn.turnId, conversation_id: turn.conversationId, message_id: turn.answerId });
  let offset = 0;
  const answer = await complete(await store.context(turn.conversationId, seq), (text) => {
    offset += text.length;
    tell("message.delta", `0-${offset}`, { text });
  });
  await store.finish(turn, seq, answer);
  tell("turn.completed", "0-end", { id: turn.turnId, ...answer, content: undefined });
  response.end();
}

/** Asks the provider; `tell` is told what came together. */
async function complete(newestFirst: Shown[], tell: (text: string) => void): Promise<Answer> {
  const started = performance.now();
  const messages = newestFirst.reverse();
  const { body } = await agent.request({
    origin: provider.origin,
    path: `${provider.pathname}/chat/completions`,
    method: "POST",
    headers: { "content-type": "application/json", authorization: "Bearer none" },
    body: JSON.stringify({ model: "bench-model", messages, stream: true, stream_options: { include_usage: true } }),
  });
  const answer = { content: "", finishReason: "", usage: {} };
  let rest = "";
  for await (const bytes of body.setEncoding("utf8")) {
    const events = (rest + bytes).split("\n\n");
    rest = events.pop() ?? "";
    const text = events.map((event) => textIn(event, answer)).join("");
    answer.content += text;
    if (text !== "") tell(text);
  }
  const target = "openai/bench-model";
  const { usage } = answer;
  const attempts = [{ target, outcome: "completed", status: 200, ms: Math.round(performance.now() - started), usage }];
  const context = { messages: messages.length, omitted: 0, estimated_tokens: 0 };
  return { ...answer, target, attempts, context, now: Date.now() };
}

function textIn(event: string, answer: { finishReason: string; usage: object }): string {
  if (event === "data: [DONE]") return "";
  const chunk = JSON.parse(event.slice(6));
  answer.finishReason = chunk.choices[0]?.finish_reason ?? answer.finishReason;
  answer.usage = chunk.usage ?? answer.usage;
  return chunk.choices[0]?.delta.content ?? "";
}

async function create(title: string): Promise<object> {
  const [id, now] = [newId(), Date.now()];
  await store.create({ id, title, now });
  return toChat({ id, user_id: USER, title, created_at: now, updated_at: now, message_count: 0 });
}

async function list(user: string, limit: number): Promise<object> {
  const [rows, total] = await store.list(user, limit + 1);
  const last = rows[limit - 1];
  const next_cursor = rows.length > limit ? btoa(`${last?.["updated_at"]},${last?.["id"]}`) : null;
  return { chats: rows.slice(0, limit).map(toChat), total, next_cursor };
}

const timeOf = (ms: unknown) => new Date(Number(ms)).toISOString();
const toChat = (row: Row) => ({
  ...row,
  created_at: timeOf(row["created_at"]),
  updated_at: timeOf(row["updated_at"]),
});
const toMessage = (row: Row) => ({ ...row, created_at: timeOf(row["created_at"]) });

function send(response: ServerResponse, status: number, value: object): void {
  const body = JSON.stringify(value);
  response.writeHead(status, { "content-type": "application/json", "content-length": Buffer.byteLength(body) });
  response.end(body);
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
