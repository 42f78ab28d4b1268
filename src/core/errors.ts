import type { Attempt } from "./model.ts";

/** What a program may branch on. The status of each stands in `http/problems.ts`. */
export type Code =
  | "malformed_json"
  | "unauthorized"
  | "forbidden"
  | "not_found"
  | "method_not_allowed"
  | "request_timeout"
  | "payload_too_large"
  | "unsupported_media_type"
  | "conversation_busy"
  | "turn_finished"
  | "turn_cancelled"
  | "not_latest"
  | "session_ended"
  | "session_with_agent"
  | "already_accepted"
  | "unlawful_move"
  | "idempotency_mismatch"
  | "validation_failed"
  | "context_too_long"
  | "content_refused"
  | "rate_limited"
  | "queue_full"
  | "quota_exceeded"
  | "issuer_unavailable"
  | "provider_failed"
  | "provider_unavailable"
  | "provider_timeout"
  | "storage_unavailable"
  | "internal_error"
  | "overloaded";

export type FieldError = { path: string; message: string };

export type ErrorDetails = {
  errors?: FieldError[];
  turnId?: string;
  attempts?: Attempt[];
  retryAfterS?: number;
  /** The limit that was met: so many at once, or in a window of seconds. */
  limit?: { name: string; quota: number; windowS?: number };
};

/** A failure that the caller may know of; `message` is a sentence for a person and is shown as it stands. */
export class AppError extends Error {
  readonly code: Code;
  readonly details: ErrorDetails;

  constructor(code: Code, message: string, details: ErrorDetails = {}) {
    super(message);
    this.name = "AppError";
    this.code = code;
    this.details = details;
  }
}

/** The same for what is unknown, deleted or somebody else's: the three must look alike. */
export const notFound = (what: string): AppError => new AppError("not_found", `There is no such ${what}.`);

/** A 422 that names one field. */
export const invalid = (path: string, message: string): AppError =>
  new AppError("validation_failed", `${path}: ${message}`, { errors: [{ path, message }] });
