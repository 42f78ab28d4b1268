/** What went wrong with a call to Stream, by what can be done about it. */
export type StreamFailure =
  /** Over the quota of this kind of call: again after `retryAfterMs`. */
  | "rate_limited"
  /** The channel, message or user is not there. */
  | "not_found"
  /** The message's id is taken: most likely by an earlier try whose answer was lost. */
  | "exists"
  /** The text is longer than the channel takes. */
  | "too_long"
  /** Its own fields take more than Stream's 5 KiB. */
  | "too_big"
  /** Stream answered as if all were well, with a message that it does not keep: a frozen channel, say. */
  | "not_kept"
  /** Key, secret or clock are wrong here: nothing will succeed until somebody sees to it. */
  | "token"
  /** The same call would be refused again. */
  | "refused"
  /** Stream is down, out of reach or too slow; the call may have been carried out all the same. */
  | "unavailable";

type Told = { kind: StreamFailure; status?: number | null; code?: number | null; retryAfterMs?: number | null };

/** A call that did not succeed. Of Stream's answer it keeps two numbers, since its texts quote what was sent. */
export class StreamChatError extends Error {
  readonly kind: StreamFailure;
  /** null where no answer came. */
  readonly status: number | null;
  /** Stream's own. */
  readonly code: number | null;
  /** In milliseconds, where Stream said when its quota is filled again. */
  readonly retryAfterMs: number | null;

  constructor({ kind, status = null, code = null, retryAfterMs = null }: Told) {
    super(status === null ? "Stream gave no answer" : `Stream answered ${status}, with code ${code}`);
    this.name = "StreamChatError";
    this.kind = kind;
    this.status = status;
    this.code = code;
    this.retryAfterMs = retryAfterMs;
  }
}

export const isFailure = (error: unknown, kind: StreamFailure): error is StreamChatError =>
  error instanceof StreamChatError && error.kind === kind;

/** null where there is nothing of the kind. */
export const unlessMissing = <T>(call: Promise<T>): Promise<T | null> =>
  call.catch((error) => {
    if (isFailure(error, "not_found")) return null;
    throw error;
  });

/** https://getstream.io/chat/docs/node/api_errors_response/ */
const KINDS: Readonly<Record<number, StreamFailure>> = {
  2: "token", // the API key is unknown
  5: "token", // no authentication
  9: "rate_limited",
  16: "not_found",
  20: "too_long",
  22: "too_big",
  23: "unavailable", // Stream's own timeout
  40: "token", // expired
  41: "token", // not valid yet
  42: "token", // from the future: a clock is wrong
  43: "token", // another secret
};
const BY_STATUS: Readonly<Record<number, StreamFailure>> = {
  401: "token",
  404: "not_found",
  408: "unavailable",
  413: "too_big",
  429: "rate_limited",
};

/** A taken id is an input error (4) among others, which only its text tells apart: github.com/GetStream/stream-chat-swift/pull/3061. */
const TAKEN = /\balready exists\b/;

/** Names a failure by Stream's code, then the HTTP status; both may be a proxy's. */
export function kindOf({
  status,
  code,
  message,
}: {
  status: number;
  code: number | null;
  message: string;
}): StreamFailure {
  if (status >= 500) return "unavailable";
  if (code === 4 && TAKEN.test(message)) return "exists";
  return KINDS[code ?? 0] ?? BY_STATUS[status] ?? "refused";
}
