import type { FailureKind, TurnError } from "../core/model.ts";

/** 429s that no waiting cures (OpenAI's error codes). */
const SPENT = new Set([
  "insufficient_quota",
  "credit_balance_exhausted",
  "organization_spend_limit_exceeded",
  "project_spend_limit_exceeded",
  "organization_usage_limit_exceeded",
]);
const REFUSED = new Set(["content_policy_violation", "content_filter"]);
const TOO_LONG = new Set(["context_length_exceeded"]);
const GONE = new Set(["model_not_found", "model_decommissioned"]);
/** A connection that was waited for in vain: the target is silent, not absent. */
const NO_ANSWER = /UND_ERR_CONNECT_TIMEOUT|UND_ERR_HEADERS_TIMEOUT|ETIMEDOUT/;
/** Codes of both runtimes for a connection that never came about. */
const NO_CONNECTION =
  /ECONNREFUSED|ConnectionRefused|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|UND_ERR_CONNECT|FailedToOpenSocket|CERT|SSL|TLS/;

/** The HTTP status that a client's error carries, if any. */
export function statusOf(error: unknown): number | null {
  const status = field(error, "status");
  return typeof status === "number" ? status : null;
}

/** How long the target wants to be left alone, in milliseconds, if its answer said so. */
export function retryAfterOf(error: unknown): number | null {
  const ms = field(error, "retryAfterMs");
  return typeof ms === "number" ? ms : null;
}

type Refusal = { status: number; body: string; retryAfterMs: number | null };

/** What a call that was answered with an error throws; the body is read for its code, and never shown. */
export function httpFailure({ status, body, retryAfterMs }: Refusal): Error {
  return Object.assign(new Error(`the provider answered ${status}`), { status, retryAfterMs, error: parsed(body) });
}

function parsed(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return undefined; // a proxy's page, say: the status has to do
  }
}

/** Names what went wrong: by the vendor's code, then the HTTP status, then the connection's error code. */
export function kindOfError(error: unknown, otherwise: FailureKind): FailureKind {
  for (const code of vendorCodes(error)) {
    if (SPENT.has(code)) return "quota_exhausted";
    if (REFUSED.has(code)) return "content_filter";
    if (TOO_LONG.has(code)) return "context_length";
    if (GONE.has(code)) return "model_gone";
  }
  const status = statusOf(error);
  if (status !== null) return kindOfStatus(status);
  const code = connectionCode(error);
  if (NO_ANSWER.test(code)) return "timeout_headers";
  return NO_CONNECTION.test(code) ? "connect" : otherwise;
}

function kindOfStatus(status: number): FailureKind {
  if (status === 429) return "rate_limited";
  if (status === 401 || status === 403) return "auth";
  if (status === 404) return "model_gone";
  if (status === 408 || status === 409 || status === 498 || status >= 500) return "overloaded"; // 498: Groq's flex capacity
  return "bad_request";
}

// A body is `{error: {code, type}}`; some servers put the code on top. Either may be the one that tells.
function vendorCodes(error: unknown): string[] {
  const places = [error, field(error, "error"), field(field(error, "error"), "error")];
  const found = places.flatMap((place) => [field(place, "code"), field(place, "type")]);
  return found.filter((value) => typeof value === "string");
}

function connectionCode(error: unknown): string {
  const codes = [];
  for (let at = error; typeof at === "object" && at !== null; at = field(at, "cause")) codes.push(field(at, "code"));
  return codes.join(" ");
}

function field(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null && name in value ? Reflect.get(value, name) : undefined;
}

const told: Record<FailureKind, readonly [TurnError["code"], string]> = {
  rate_limited: ["provider_unavailable", "is over its rate limit"],
  quota_exhausted: ["provider_failed", "has no quota left"],
  overloaded: ["provider_unavailable", "is overloaded"],
  connect: ["provider_unavailable", "could not be reached"],
  timeout_headers: ["provider_timeout", "did not answer in time"],
  timeout_first_token: ["provider_timeout", "did not begin its answer in time"],
  timeout_idle: ["provider_timeout", "fell silent in the middle of its answer"],
  timeout_total: ["provider_timeout", "did not finish its answer in time"],
  stream_cut: ["provider_failed", "broke off its answer"],
  stream_incomplete: ["provider_failed", "ended its answer without saying that it is complete"],
  bad_request: ["provider_failed", "refused the request"],
  context_length: ["context_too_long", "found the conversation longer than its window"],
  content_filter: ["content_refused", "refused the content"],
  auth: ["provider_failed", "refused the service's credentials"],
  model_gone: ["provider_failed", "does not know the model"],
  cancelled: ["turn_cancelled", "was stopped"],
};

/** What a caller is told of a failure: ours, never the provider's own words. */
export function tell(target: string, kind: FailureKind): TurnError {
  const [code, what] = told[kind];
  return { code, detail: `${target} ${what}.` };
}
