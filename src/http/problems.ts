import type { Context, ErrorHandler } from "hono";
import { HTTPException } from "hono/http-exception";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import { AppError, type Code, notFound } from "../core/errors.ts";
import { mayPass } from "../db/trouble.ts";
import type { HttpEnv } from "./env.ts";
import { idsOfRequest } from "./log.ts";

export const statusOfCode = {
  malformed_json: 400,
  unauthorized: 401,
  forbidden: 403,
  not_found: 404,
  method_not_allowed: 405,
  request_timeout: 408,
  conversation_busy: 409,
  turn_finished: 409,
  turn_cancelled: 409,
  not_latest: 409,
  session_ended: 409,
  session_with_agent: 409,
  already_accepted: 409,
  unlawful_move: 409,
  payload_too_large: 413,
  unsupported_media_type: 415,
  idempotency_mismatch: 422,
  validation_failed: 422,
  context_too_long: 422,
  content_refused: 422,
  rate_limited: 429,
  queue_full: 429,
  quota_exceeded: 429,
  internal_error: 500,
  issuer_unavailable: 503,
  provider_failed: 502,
  overloaded: 503,
  provider_unavailable: 503,
  storage_unavailable: 503,
  provider_timeout: 504,
} as const satisfies Record<Code, ContentfulStatusCode>;

const titles: Record<number, string> = {
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  408: "Request Timeout",
  409: "Conflict",
  413: "Content Too Large",
  415: "Unsupported Media Type",
  422: "Unprocessable Content",
  429: "Too Many Requests",
  500: "Internal Server Error",
  502: "Bad Gateway",
  503: "Service Unavailable",
  504: "Gateway Timeout",
};

type Log = { error(fields: object, message: string): void };

/** The one place that turns errors into responses. What it does not know is logged, and shown as nothing but a 500. */
export function problemHandler(log: Log): ErrorHandler<HttpEnv> {
  return (error, c) => {
    if (error instanceof AppError) return problem(c, error);
    if (error instanceof HTTPException) return problem(c, fromHono(error));
    log.error({ err: error, ...idsOfRequest(c) }, "a request failed");
    if (mayPass(error)) return problem(c, storageUnavailable());
    return problem(c, new AppError("internal_error", "Something went wrong here; the log has the request id."));
  };
}

/** When a client may try again, in seconds: a disk is seldom given room sooner. */
const STORAGE_RETRY_S = 5;

const storageUnavailable = (): AppError =>
  new AppError("storage_unavailable", "The database cannot be used at the moment; try again in a few seconds.", {
    retryAfterS: STORAGE_RETRY_S,
  });

function fromHono(error: HTTPException): AppError {
  if (error.status === 415) return unsupportedMediaType();
  if (error.status === 413) return new AppError("payload_too_large", "The body is larger than this service takes.");
  if (error.status === 400) return new AppError("malformed_json", "The body is no valid JSON.");
  return new AppError("internal_error", "Something went wrong here; the log has the request id.");
}

export const unsupportedMediaType = (
  detail = "The body must be JSON: send Content-Type: application/json.",
): AppError => new AppError("unsupported_media_type", detail);

/** RFC 9457. */
export function problem(c: Context<HttpEnv>, error: AppError): Response {
  const { code, message, details } = error;
  c.set("code", code);
  sayLimit(c, error);
  const status = statusOfCode[code];
  const body = {
    type: "about:blank",
    title: titles[status],
    status,
    detail: message,
    code,
    request_id: c.get("requestId"),
    ...(details.errors && { errors: details.errors }),
    ...(details.turnId && { turn_id: details.turnId }),
    ...(details.attempts && { attempts: details.attempts }),
  };
  return c.body(`${JSON.stringify(body)}\n`, status, {
    "Content-Type": "application/problem+json",
    ...headersOf(error),
  });
}

function headersOf({ code, details }: AppError): Record<string, string> {
  const headers: Record<string, string> = {};
  if (code === "request_timeout" || code === "overloaded") headers["Connection"] = "close"; // the body is not waited for
  if (code === "unauthorized") headers["WWW-Authenticate"] = "Bearer";
  if (details.retryAfterS !== undefined) headers["Retry-After"] = String(details.retryAfterS);
  return headers;
}

/** Beside what the rate limit has said already: both fields are lists. */
function sayLimit(c: Context<HttpEnv>, { details: { limit, retryAfterS = 1 } }: AppError): void {
  if (!limit) return;
  const window = limit.windowS === undefined ? "" : `;w=${limit.windowS}`;
  c.header("RateLimit-Policy", `"${limit.name}";q=${limit.quota}${window}`, { append: true });
  c.header("RateLimit", `"${limit.name}";r=0;t=${retryAfterS}`, { append: true });
}

const OPENAI = /^\/v1(\/|$)/;

/** Says where to look, and to clients of OpenAI's API which routes send messages here. */
export function unknownRoute(c: Context<HttpEnv>): Response {
  const { message } = notFound("route");
  const where = "GET /routes lists all there are, and /docs explains them.";
  const instead =
    " OpenAI's API is not among them: messages are sent by POST to /chat, /conversations/{id}/ask-message, /api/chat/send, /generate-response or /api/v1/sessions/{id}/messages.";
  return problem(c, new AppError("not_found", `${message} ${where}${OPENAI.test(c.req.path) ? instead : ""}`));
}
