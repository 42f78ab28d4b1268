import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { deflateSync, gzipSync } from "node:zlib";

/** A chat completion request as it came over the wire. */
export type Asked = {
  path: string;
  authorization: string | undefined;
  headers: IncomingHttpHeaders;
  body: { model: string; messages: { role: string; content: string }[]; stream: boolean; [field: string]: unknown };
};

/** How the provider behaves on one request. Everything has the default of a healthy one. */
export type Script = {
  /** Milliseconds before the headers; Infinity never sends them. */
  headersAfter?: number;
  /** An error instead of a stream, with this body. */
  status?: number;
  headers?: Record<string, string>;
  error?: unknown;
  /** The head of the error comes, its body never does. */
  withoutBody?: boolean;
  /** A completion in one piece, though a stream was asked for. */
  whole?: object;
  /** The answer is compressed, whatever was asked for. */
  compress?: "gzip" | "deflate";
  /** Resets the connection before the headers. */
  reset?: boolean;
  /** Comments before the text, each after `every` milliseconds. */
  comments?: number;
  /** Pieces of reasoning before the text, each after `every` milliseconds. */
  thoughts?: number;
  /** Pieces of text, each in a write of its own unless `together`. */
  text?: string[];
  together?: boolean;
  /** Milliseconds before each piece. */
  every?: number;
  /** Waited for before the piece with this index. */
  before?: (index: number) => Promise<unknown>;
  /** null leaves it out. */
  finish?: string | null;
  usage?: { prompt_tokens: number; completion_tokens: number } | null;
  /** Whether `data: [DONE]` is sent. */
  done?: boolean;
  /** Sent as it stands after the text, in place of all that follows. */
  raw?: string;
  /**
   * After the text: `cut` resets the connection, `stall` says nothing more; `late` ends the response a little later than
   * the answer, `open` never.
   */
  afterwards?: "end" | "cut" | "stall" | "late" | "open";
  /** The same, under a name that biome refuses in an object (noThenProperty). */
  then?: "end" | "cut" | "stall";
};

/** The answer to who asks for the models: these, silence, a failure, or a refusal with that status. */
export type Listed =
  | readonly (string | { id: string; shutdown_date: string | number | null })[]
  | "nothing"
  | "failure"
  | 401
  | 404;

export type Provider = {
  /** With `/v1`, as OPENAI_BASE_URL wants it. */
  openaiUrl: string;
  /** Without `/openai/v1`, as GROQ_BASE_URL wants it. */
  groqUrl: string;
  asked: Asked[];
  /** The headers of every request for its list of models. */
  lists: IncomingHttpHeaders[];
  /** Requests whose connection the client closed before they were answered. */
  left(): number;
  /** Requests that are being answered right now. */
  busy(): number;
  busyWith(model: string): number;
  /** Connections over which it was ever asked for an answer. */
  sockets(): number;
  /** Resets every connection. */
  cut(): void;
  /** What its list of models answers from now on. */
  list(models: Listed): void;
  /** What each next request gets; until then an echo of the last message. */
  behave(script: (asked: Asked) => Script): void;
  close(): Promise<void>;
};

/** For a service: more time for its providers than any machine needs: what is held back in a test does not run out. */
export const PATIENT_WITH_PROVIDERS = {
  FIRST_TOKEN_TIMEOUT_MS: "300000",
  LAST_FIRST_TOKEN_TIMEOUT_MS: "300000",
  IDLE_TIMEOUT_MS: "300000",
  TURN_TIMEOUT_MS: "600000",
};

/** A faithful OpenAI and Groq on a port of its own, or on `port`. */
export async function startProvider(port = 0): Promise<Provider> {
  const asked: Asked[] = [];
  const lists: IncomingHttpHeaders[] = [];
  let listed: Listed = ["local-model", "other-model"];
  const sockets = new Set<object>();
  let behaviour: (asked: Asked) => Script = () => ({});
  let left = 0;
  const busy = new Set<Asked>();

  const server = createServer(async (request, response) => {
    if (request.method === "GET" && request.url?.endsWith("/v1/models")) {
      lists.push(request.headers);
      return sendList(response, listed);
    }
    if (request.method !== "POST") return sendJson(response, 404, { error: { message: "no" } });
    const one: Asked = {
      path: request.url ?? "",
      authorization: request.headers.authorization,
      headers: request.headers,
      body: JSON.parse(await textOf(request)),
    };
    asked.push(one);
    sockets.add(request.socket);
    busy.add(one);
    response.on("close", () => {
      busy.delete(one);
      if (!response.writableFinished) left++;
    });
    await answer(response, one, behaviour(one));
  });
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

  return {
    openaiUrl: `${url}/v1`,
    groqUrl: url,
    asked,
    lists,
    left: () => left,
    busy: () => busy.size,
    busyWith: (model) => [...busy].filter(({ body }) => body.model === model).length,
    sockets: () => sockets.size,
    cut: () => server.closeAllConnections(),
    list(models) {
      listed = models;
    },
    behave(script) {
      behaviour = script;
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function sendList(response: ServerResponse, models: Listed): void {
  if (models === "nothing") return;
  if (typeof models !== "object") {
    sendJson(response, typeof models === "number" ? models : 500, { error: { message: "no" } });
    return;
  }
  const data = models.map((model) => ({
    ...(typeof model === "string" ? { id: model } : model),
    ...{ object: "model", created: 1 },
  }));
  sendJson(response, 200, { object: "list", data });
}

async function answer(response: ServerResponse, asked: Asked, script: Script): Promise<void> {
  const { headersAfter = 0, status, headers = {}, error } = script;
  if (script.reset) return void response.socket?.resetAndDestroy();
  if (headersAfter === Infinity) return;
  if (headersAfter > 0) await sleep(headersAfter);
  if (status !== undefined && script.withoutBody) return void response.writeHead(status, headers).flushHeaders();
  if (status !== undefined) return sendJson(response, status, error ?? { error: { message: "no" } }, headers);
  if (!asked.body.stream) return sendJson(response, 200, { object: "chat.completion" });
  if (script.whole) return sendJson(response, 200, script.whole, headers);
  if (script.compress) return sendCompressed(response, asked, script.compress, script);
  response.writeHead(200, { "content-type": "text/event-stream", ...headers });
  response.flushHeaders();
  await writeAnswer(response, asked, script);
}

function sendCompressed(response: ServerResponse, asked: Asked, encoding: "gzip" | "deflate", script: Script): void {
  const text = (script.text ?? wordsOf(asked)).map((content) => chunk(asked, { content })).join("");
  const body = (encoding === "gzip" ? gzipSync : deflateSync)(text + ending(asked, script));
  response.writeHead(200, { "content-type": "text/event-stream", "content-encoding": encoding }).end(body);
}

async function writeAnswer(response: ServerResponse, asked: Asked, script: Script): Promise<void> {
  const { text = wordsOf(asked), together = false, every = 0, before, afterwards = script.then ?? "end" } = script;
  await writeComments(response, script);
  let held = chunk(asked, { role: "assistant", content: "" });
  const thoughts = Array.from({ length: script.thoughts ?? 0 }, () => ({ reasoning: "hm " }));
  for (const [i, piece] of [...thoughts, ...text.map((content) => ({ content }))].entries()) {
    if (every > 0) await sleep(every);
    await before?.(i);
    if (response.destroyed) return;
    held += chunk(asked, piece);
    if (!together) held = flush(response, held);
  }
  held = flush(response, held);
  if (afterwards === "cut") return void response.write(":\n\n", () => response.socket?.destroy());
  if (afterwards === "stall") return;
  const last = script.raw ?? ending(asked, script);
  if (afterwards === "end") return void response.end(last);
  response.write(last);
  if (afterwards === "late") setTimeout(() => response.end(), 20);
}

async function writeComments(response: ServerResponse, { comments = 0, every = 0 }: Script): Promise<void> {
  for (let i = 0; i < comments; i++) {
    await sleep(every);
    response.write(": the request is queued\n\n");
  }
}

function flush(response: ServerResponse, text: string): "" {
  response.write(text);
  return "";
}

function ending(
  asked: Asked,
  { finish = "stop", usage = { prompt_tokens: 11, completion_tokens: 7 }, done = true }: Script,
) {
  const groq = asked.path.startsWith("/openai/");
  const last = finish === null ? "" : chunk(asked, {}, finish, groq && usage ? { x_groq: { id: "req_1", usage } } : {});
  const options = asked.body["stream_options"];
  const wantsUsage = typeof options === "object" && options !== null && "include_usage" in options;
  const counted = usage && wantsUsage ? event({ ...base(asked), choices: [], usage }) : "";
  return last + counted + (done ? "data: [DONE]\n\n" : "");
}

const base = ({ body }: Asked) => ({
  id: "chatcmpl-1",
  object: "chat.completion.chunk",
  created: 1,
  model: body.model,
});

const chunk = (asked: Asked, delta: object, finish_reason: string | null = null, more: object = {}) =>
  event({ ...base(asked), choices: [{ index: 0, delta, finish_reason }], usage: null, ...more });

export const event = (data: unknown): string => `data: ${JSON.stringify(data)}\n\n`;

/** "Echo: " and the last message, word by word. */
function wordsOf({ body }: Asked): string[] {
  return `Echo: ${body.messages.at(-1)?.content ?? ""}`.match(/\s*\S+/g) ?? [];
}

function sendJson(response: ServerResponse, status: number, body: unknown, headers: Record<string, string> = {}): void {
  response.writeHead(status, { "content-type": "application/json", ...headers });
  response.end(JSON.stringify(body));
}

async function textOf(request: IncomingMessage): Promise<string> {
  let text = "";
  for await (const part of request.setEncoding("utf8")) text += part;
  return text;
}
