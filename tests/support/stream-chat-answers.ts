import type { IncomingMessage, ServerResponse } from "node:http";
import type { CallKind } from "../../src/stream-chat/quota.ts";
import { type App, authenticate, type createCounter } from "./stream-chat-gate.ts";
import { type Asked, type Found, findRoute } from "./stream-chat-routes.ts";
import { type Fields, isObject, Refusal, type State } from "./stream-chat-state.ts";

/** A call as it came over the wire, and what became of it. */
export type Call = {
  kind: CallKind | null;
  method: string;
  path: string;
  body: Fields;
  /** `server`, or a user's id; null where nobody was let in. */
  by: string | null;
  /** What Stream answered, or would have; null while it has not. */
  status: number | null;
  /** Stream's own code of a refusal. */
  code: number | null;
};

/** What happens to a call in place of an answer, or before it. */
export type Fault = {
  /** Waited for first. */
  after?: Promise<unknown>;
  /** What is asked is done all the same. */
  done?: boolean;
  /** The answer: a failure of this status; or the connection is cut, or nothing comes. */
  how?: 500 | 502 | 503 | 504 | "cut" | "stall";
};

/** What happened, in order: a call that was answered, or something that clients were told. */
export type Entry = { call: Call } | { event: Fields & { type: string } };

type Parts = {
  app: App;
  state: State;
  counter: ReturnType<typeof createCounter>;
  calls: Call[];
  log: Entry[];
  faultOf(call: Call): Fault | undefined;
};

/** Answers the calls of one app, or does to them what `faultOf` says. */
export function answererOf({ app, state, counter, calls, log, faultOf }: Parts) {
  return async (request: IncomingMessage, response: ServerResponse) => {
    const asked = await read(request);
    const { method, path, body } = asked;
    const found = findRoute(asked);
    const call: Call = { ...{ kind: found?.kind ?? null, method, path, body }, by: null, status: null, code: null };
    calls.push(call);
    const { after, how, done = how === undefined } = faultOf(call) ?? {};
    await after;
    if (response.destroyed) return;
    let headers: Record<string, string> = {};
    let answered: Fields = {};
    if (done) {
      const went = carryOut(found, { call, asked, app, state, counter, request });
      ({ headers, body: answered } = went);
      log.push({ call });
    }
    if (how === "stall") return;
    if (how === "cut") return void response.socket?.resetAndDestroy();
    const status = how ?? call.status ?? 500;
    const failure = { code: -1, message: "internal error", StatusCode: status, duration: "0.00ms", details: [] };
    response.writeHead(status, { "content-type": "application/json", ...headers });
    response.end(JSON.stringify(how === undefined ? answered : failure));
  };
}

type Carried = Pick<Parts, "app" | "state" | "counter"> & { call: Call; asked: Asked; request: IncomingMessage };

function carryOut(found: Found | null, { call, asked, app, state, counter, request }: Carried) {
  let headers: Record<string, string> = {};
  try {
    const caller = authenticate(app, asked.query, request.headers);
    call.by = caller.server ? "server" : caller.userId;
    if (!found) throw new Refusal(404, 16, "no such endpoint");
    if (caller.server) {
      const counted = counter.count(found.kind);
      ({ headers } = counted);
      if (counted.isOver) throw new Refusal(429, 9, "Too many requests, check response headers for more information.");
    }
    const { status, body } = found.run(state, caller);
    call.status = status;
    return { headers, body };
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    [call.status, call.code] = [error.status, error.code];
    const message = found ? `${found.kind} failed with error: "${error.message}"` : error.message;
    const more_info = "https://getstream.io/chat/docs/api_errors_response";
    const body = { code: error.code, message, StatusCode: error.status, duration: "0.00ms", more_info, details: [] };
    return { headers, body };
  }
}

async function read(request: IncomingMessage): Promise<Asked> {
  const url = new URL(request.url ?? "/", "http://stream");
  let text = "";
  for await (const part of request.setEncoding("utf8")) text += part;
  const body: unknown = text === "" ? {} : JSON.parse(text);
  return {
    method: request.method ?? "",
    path: url.pathname,
    query: url.searchParams,
    body: isObject(body) ? body : {},
  };
}
