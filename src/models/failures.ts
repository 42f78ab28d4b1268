import type { FailureKind, TurnError } from "../core/model.ts";
import { meaningOf } from "./refusal-words.ts";

/** What vendors' error codes and types mean, whatever the HTTP status beside them. */
const CODES: readonly (readonly [FailureKind, ReadonlySet<string>])[] = [
  [
    "quota_exhausted",
    new Set([
      "insufficient_quota",
      "insufficient_balance",
      "credit_balance_exhausted",
      "organization_spend_limit_exceeded",
      "project_spend_limit_exceeded",
      "organization_usage_limit_exceeded",
      "billing_hard_limit_reached",
      "billing_not_active",
      "billing_error",
    ]),
  ],
  ["content_filter", new Set(["content_policy_violation", "content_filter", "ResponsibleAIPolicyViolation"])],
  [
    "context_length",
    new Set([
      "context_length_exceeded",
      "exceed_context_size_error",
      "ContextWindowExceededError",
      "request_too_large",
    ]),
  ],
  ["model_gone", new Set(["model_not_found", "model_decommissioned", "not_found_error", "model_not_available"])],
  ["auth", new Set(["invalid_api_key", "API_KEY_INVALID", "authentication_error", "permission_error"])],
  ["overloaded", new Set(["overloaded_error"])],
];
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

/** The status that an error in the middle of an answer names as its code, since the answer itself began with 200. */
function statusInside(error: unknown): number | null {
  const codes = placesOf(error).map((place) => Number(field(place, "code")));
  return codes.find((code) => Number.isInteger(code) && code >= 400 && code < 600) ?? null;
}

/** How long the target wants to be left alone, in milliseconds, if its answer said so. */
export function retryAfterOf(error: unknown): number | null {
  const ms = field(error, "retryAfterMs");
  return typeof ms === "number" ? ms : null;
}

type Refusal = { status: number; body: string; retryAfterMs: number | null };

/** What a call that was answered with an error throws; the body is read for what it means, and never shown. */
export function httpFailure({ status, body, retryAfterMs }: Refusal): Error {
  return Object.assign(new Error(`the provider answered ${status}`), { status, retryAfterMs, error: parsed(body) });
}

/** A body that is no JSON counts by its words, but for a proxy's page, of which the status has to do. */
function parsed(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return body.trimStart().startsWith("<") ? undefined : { message: body };
  }
}

/** Names what went wrong: by the vendor's code, its words, the HTTP status, then the connection's error code. */
export function kindOfError(error: unknown, otherwise: FailureKind): FailureKind {
  if (field(error, "code") === "answer_too_large") return "answer_too_large";
  const codes = vendorCodes(error);
  for (const [kind, known] of CODES) if (codes.some((code) => known.has(code))) return kind;
  const status = statusOf(error) ?? statusInside(error);
  const meant = meaningOf(wordsOf(error));
  if (status !== null) return kindOfStatus(status, meant);
  if (meant) return meant;
  const code = connectionCode(error);
  if (NO_ANSWER.test(code)) return "timeout_headers";
  return NO_CONNECTION.test(code) ? "connect" : otherwise;
}

type StatusMeaning = {
  /** What it means by itself. */
  kind: FailureKind;
  /** What words beside it may say instead. */
  or: ReadonlySet<FailureKind> | "anything";
};

const only = (kind: FailureKind, ...or: FailureKind[]): StatusMeaning => ({ kind, or: new Set(or) });

const BUSY = only("overloaded", "context_length");
const STATUSES: Readonly<Record<number, StatusMeaning>> = {
  401: only("auth"),
  402: only("quota_exhausted"),
  403: { kind: "auth", or: "anything" },
  404: only("model_gone", "quota_exhausted"),
  408: BUSY,
  409: BUSY,
  410: only("model_gone"),
  413: only("context_length"),
  425: BUSY,
  429: only("rate_limited", "quota_exhausted", "context_length"),
  498: BUSY, // Groq's flex capacity
};

/** What a status means, given what the words beside it mean. */
function kindOfStatus(status: number, meant: FailureKind | undefined): FailureKind {
  const { kind, or } = STATUSES[status] ?? (status >= 500 ? BUSY : { kind: "bad_request", or: "anything" });
  return meant && (or === "anything" || or.has(meant)) ? meant : kind;
}

/** Where the parts of an error may be: `{error: {…}}`, the same without its wrapping, or a list of them (Gemini). */
function placesOf(error: unknown): unknown[] {
  const body = [field(error, "error")].flat();
  return [error, ...body, ...body.map((one) => field(one, "error"))];
}

// Either of code and type may be the one that tells.
function vendorCodes(error: unknown): string[] {
  const found = placesOf(error).flatMap((place) => [
    field(place, "code"),
    field(place, "type"),
    ...[field(place, "details")].flat().map((detail) => field(detail, "reason")),
    field(field(place, "innererror"), "code"),
  ]);
  return found.filter((value) => typeof value === "string");
}

/** The field of the request that a refusal names, if it names one. */
export const refusedField = (error: unknown): string | undefined =>
  placesOf(error)
    .map((place) => field(place, "param"))
    .find((param) => typeof param === "string");

const WORDS_MOST = 2_000;

/** What an error says in words, cut to what is worth reading; an Error of our own says nothing here. */
export function wordsOf(error: unknown): string {
  const places = error instanceof Error ? placesOf(error).slice(1) : placesOf(error);
  const found = places.flatMap((place) => [
    place, // some servers say no more than a sentence
    field(place, "message"),
    ...[field(place, "detail")].flat().flatMap((detail) => [detail, field(detail, "msg"), field(detail, "loc")].flat()),
    field(field(place, "metadata"), "raw"),
  ]);
  return found
    .filter((value) => typeof value === "string")
    .join(" ")
    .slice(0, WORDS_MOST);
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
  answer_too_large: ["provider_failed", "sent an answer larger than this service takes"],
  bad_request: ["provider_failed", "refused the request"],
  context_length: ["context_too_long", "found the conversation longer than its window"],
  content_filter: ["content_refused", "refused the content"],
  auth: ["provider_failed", "refused the service's credentials"],
  model_gone: ["provider_failed", "does not know the model"],
  cancelled: ["turn_cancelled", "was stopped"],
};

/** What a caller is told of a failure: our words, never the provider's own. */
export function tell(target: string, kind: FailureKind, status: number | null = null): TurnError {
  const [code, what] = told[kind];
  return { code, detail: `${target} ${ownError(kind, status) ?? what}.` };
}

/** A server that fails is not one that has too much to do: 503 and 529 say the latter. */
const ownError = (kind: FailureKind, status: number | null): string | undefined =>
  kind === "overloaded" && status !== null && status >= 500 && status !== 503 && status !== 529
    ? `failed with an error of its own (HTTP ${status})`
    : undefined;

type LeftAlone = { outcome: FailureKind; status: number | null; agoMs: number; waitMs: number };

/** Why a target was not even asked: what it did last, when that was, and when it is asked again. */
export function tellLeftAlone(target: string, failure: LeftAlone | undefined): string {
  if (!failure) return `${target} is being tried by another request.`;
  const { outcome, status, agoMs, waitMs } = failure;
  const [ago, wait] = [agoMs, waitMs].map((ms) => `${Math.max(1, Math.round(ms / 1000))} s`);
  return `${target} ${ownError(outcome, status) ?? told[outcome][1]} (${ago} ago) and is asked again in ${wait}.`;
}
