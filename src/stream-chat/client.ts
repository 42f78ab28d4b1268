import { z } from "zod";
import { kindOf, StreamChatError } from "./failures.ts";
import { type CallKind, createQuota, type Quota } from "./quota.ts";
import { serverToken } from "./tokens.ts";

export const STREAM_BASE_URL = "https://chat.stream-io-api.com";

type Method = "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
type Call = { url: string; method: Method; headers: Record<string, string>; body: string | null; signal: AbortSignal };
type Answer = {
  status: number;
  header(name: string): string | undefined;
  text(): Promise<string>;
  release(): void;
};

export type StreamChatOptions = {
  /** Without a slash at its end. */
  baseUrl: string;
  apiKey: string;
  secret: string;
  /** Follows no redirect, and keeps no time. */
  send(call: Call): Promise<Answer>;
  /** Milliseconds since 1970. */
  clock: () => number;
  timeoutMs?: number;
};

export type Asked = {
  kind: CallKind;
  method: Method;
  /** Below the base, each part of it encoded. */
  path: string;
  query?: Record<string, string>;
  body?: unknown;
  signal: AbortSignal | undefined;
};

/** Aborts a call, which then throws the signal's reason. */
export type Stoppable = { signal?: AbortSignal | undefined };

/** Stream Chat's REST API, as this service calls it. */
export type StreamChat = {
  /** What the functions of this folder go through, and nobody else. Throws StreamChatError. */
  call<T>(asked: Asked, shape: z.ZodType<T>): Promise<T>;
  readonly quota: Quota;
};

const TIMEOUT_MS = 10_000;

const failure = z.object({ code: z.number().catch(0), message: z.string().catch("") });

/** Written from https://getstream.io/chat/docs/rest/; nothing is called until one of the functions beside is. */
export function createStreamChat(options: StreamChatOptions): StreamChat {
  const { send, clock, timeoutMs = TIMEOUT_MS } = options;
  const token = serverToken(options.secret, clock);
  const quota = createQuota(clock);

  async function call<T>({ kind, signal, ...asked }: Asked, shape: z.ZodType<T>): Promise<T> {
    const request = requestTo(options, { ...asked, token: await token() });
    const limits = [AbortSignal.timeout(timeoutMs), ...(signal ? [signal] : [])];
    const { answer, text } = await exchange(send, { ...request, signal: AbortSignal.any(limits) }).catch(() => {
      signal?.throwIfAborted();
      throw new StreamChatError({ kind: "unavailable" });
    });
    const { status } = answer;
    const wait = quota.note(kind, answer);
    const body = parsed(text);
    if (status < 200 || status >= 300) throw refusalOf(status, body, wait);
    const read = shape.safeParse(body);
    // A proxy's page, say. Whether the call was carried out is anybody's guess, as after an outage.
    if (!read.success) throw new StreamChatError({ kind: "unavailable", status });
    return read.data;
  }
  return { call, quota };
}

/** Throws where Stream cannot be reached, or does not take the key and the secret. */
export async function reachStream(stream: StreamChat, { signal }: Stoppable = {}): Promise<void> {
  await stream.call({ kind: "GetApp", method: "GET", path: "/app", signal }, z.object({ app: z.unknown() }));
}

type Signed = Omit<Asked, "kind" | "signal"> & { token: string };

function requestTo({ baseUrl, apiKey }: StreamChatOptions, { method, path, query, body, token }: Signed) {
  return {
    url: `${baseUrl}${path}?${new URLSearchParams({ ...query, api_key: apiKey })}`,
    method,
    headers: {
      accept: "application/json",
      authorization: token,
      "stream-auth-type": "jwt",
      ...(body !== undefined && { "content-type": "application/json" }),
    },
    body: body === undefined ? null : JSON.stringify(body),
  };
}

async function exchange(send: StreamChatOptions["send"], call: Call): Promise<{ answer: Answer; text: string }> {
  const answer = await send(call);
  try {
    return { answer, text: await answer.text() };
  } finally {
    answer.release();
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // the status has to do
  }
}

function refusalOf(status: number, body: unknown, wait: number | null): StreamChatError {
  const { code, message } = failure.safeParse(body).data ?? { code: null, message: "" };
  const kind = kindOf({ status, code, message });
  return new StreamChatError({ kind, status, code, retryAfterMs: kind === "rate_limited" ? wait : null });
}
