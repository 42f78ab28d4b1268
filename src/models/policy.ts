import type { FailureKind } from "../core/model.ts";

/** Calls that one turn makes to one target, at most. */
const MOST_CALLS = 3;
/** A Retry-After up to this is waited for although another target is left, in milliseconds. */
export const SHORT_MS = 2_000;
const BACKOFF_MS = 250;
const BACKOFF_MOST_MS = 4_000;

/** `wider`: the next target whose window is larger. */
type Rule = "again" | "next" | "wider" | "stop";

/** The one table of what follows a failure. A silent target is not asked again; a refused prompt is not shopped around. */
const rules: Record<FailureKind, Rule> = {
  overloaded: "again",
  connect: "again",
  rate_limited: "again",
  quota_exhausted: "next",
  auth: "next",
  model_gone: "next",
  timeout_headers: "next",
  timeout_first_token: "next",
  timeout_idle: "next",
  stream_cut: "next",
  stream_incomplete: "next",
  answer_too_large: "next",
  // What one target refuses another may take: their servers differ in what they know.
  bad_request: "next",
  context_length: "wider",
  timeout_total: "stop",
  content_filter: "stop",
  cancelled: "stop",
};

export type Failed = {
  kind: FailureKind;
  /** Calls to this target in this turn so far. */
  calls: number;
  retryAfterMs: number | null;
  /** Whether any later target may be called. */
  another: boolean;
  /** How long a turn may be kept waiting here, in milliseconds. */
  patienceMs: number;
  /** From 0 to below 1. */
  random: number;
};

export type Move = { to: "again"; afterMs: number } | { to: "next" } | { to: "wider" } | { to: "stop" };

/** What a turn does after a call that failed. */
export function moveAfter(failed: Failed): Move {
  const rule = rules[failed.kind];
  if (rule !== "again") return { to: rule };
  const afterMs = failed.retryAfterMs === null ? backoffMs(failed) : spread(failed.retryAfterMs, failed.random);
  const most = failed.another ? Math.min(SHORT_MS, failed.patienceMs) : failed.patienceMs;
  const asked = failed.retryAfterMs ?? afterMs;
  return failed.calls < MOST_CALLS && asked <= most ? { to: "again", afterMs } : { to: "next" };
}

/** Exponential, with full jitter: those who failed together do not come back together. */
const backoffMs = ({ calls, random }: Failed) => random * Math.min(BACKOFF_MOST_MS, BACKOFF_MS * 2 ** (calls - 1));

// Never before the time that was named, and not all at it.
const spread = (ms: number, random: number) => ms * (1 + random / 10) + 5;

/** How long a vendor wants to be left alone, in milliseconds; null where it does not say, or makes no sense. */
export function retryAfterMs(header: (name: string) => string | undefined, now: number): number | null {
  const ms = header("retry-after-ms");
  if (ms !== undefined && /^\d+(\.\d+)?$/.test(ms)) return Number(ms);
  const text = header("retry-after");
  if (text === undefined) return null;
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text) * 1000;
  const at = Date.parse(text);
  return Number.isNaN(at) ? null : Math.max(0, at - now);
}
