import { createHmac } from "node:crypto";
import { STOPPED } from "../outbox/deliver.ts";

type Call = { url: string; method: "POST"; headers: Record<string, string>; body: string; signal: AbortSignal };
type Answer = { status: number; header(name: string): string | undefined; release(): void };

/** Where deliveries go, and how. */
export type Endpoint = {
  readonly url: string;
  readonly secret: Uint8Array;
  /** Follows no redirect, and keeps no time. */
  send(call: Call): Promise<Answer>;
  /** Milliseconds since 1970. */
  readonly clock: () => number;
  readonly userAgent: string;
};

/** One post: the same `id` has the same body, however often it is sent. */
export type Delivery = { readonly id: string; readonly body: string };

export type Outcome =
  | { kind: "told" }
  | { kind: "failed"; reason: string; retryAfterMs: number | null }
  /** The receiver wants nothing more. */
  | { kind: "gone" }
  | { kind: "stopped" };

const LATE = new Error("late");

const GONE = 410;
/** Answers that speak of the receiver as a whole, and so may ask for time. */
const BUSY = [429, 502, 503, 504];

/** Sends one delivery, signed as Standard Webhooks has it. Of the answer's body nothing is read. */
export async function post(
  endpoint: Endpoint,
  { id, body }: Delivery,
  { stop, timeoutMs }: { stop: AbortController; timeoutMs: number },
): Promise<Outcome> {
  const { url, send, clock, userAgent } = endpoint;
  const signed = signature(endpoint.secret, { id, timestamp: Math.floor(clock() / 1000), body });
  const headers = { "content-type": "application/json", "user-agent": userAgent, ...signed };
  const timer = setTimeout(() => stop.abort(LATE), timeoutMs);
  try {
    const answer = await send({ url, method: "POST", headers, body, signal: stop.signal });
    answer.release();
    return outcomeOf(answer, clock());
  } catch (error) {
    if (stop.signal.reason === STOPPED) return { kind: "stopped" };
    return { kind: "failed", reason: stop.signal.aborted ? "timeout" : reasonOf(error), retryAfterMs: null };
  } finally {
    clearTimeout(timer);
  }
}

/** The headers that let a receiver tell who has sent a body, and when. `timestamp` is in seconds. */
export function signature(
  secret: Uint8Array,
  { id, timestamp, body }: Delivery & { timestamp: number },
): Record<string, string> {
  const hmac = createHmac("sha256", secret).update(`${id}.${timestamp}.${body}`).digest("base64");
  return { "webhook-id": id, "webhook-timestamp": String(timestamp), "webhook-signature": `v1,${hmac}` };
}

function outcomeOf({ status, header }: Answer, now: number): Outcome {
  if (status >= 200 && status < 300) return { kind: "told" };
  if (status === GONE) return { kind: "gone" };
  const retryAfterMs = BUSY.includes(status) ? waitOf(header("retry-after"), now) : null;
  return { kind: "failed", reason: `status ${status}`, retryAfterMs };
}

/** Seconds or a date, in milliseconds from now; null for anything else. */
function waitOf(value: string | undefined, now: number): number | null {
  if (value === undefined) return null;
  const ms = /^\d{1,9}$/.test(value) ? Number(value) * 1000 : Date.parse(value) - now;
  return ms > 0 ? ms : null;
}

/** A word for the operator: messages of errors may hold the address. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return "unknown";
  return "code" in error ? String(error.code) : error.name;
}
