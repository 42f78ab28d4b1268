import type { Context, MiddlewareHandler } from "hono";
import { AppError } from "../core/errors.ts";
import type { HttpEnv } from "./env.ts";

/** Who may try again then, in seconds: a stream ends when its reader wants it to. */
const RETRY_AFTER_S = 1;

/** Holds each user to so many open event streams and long answers on this instance, null for no limit, and counts them in `open`. */
export function limitStreams(most: number | null, open = new Map<string, number>()): MiddlewareHandler<HttpEnv> {
  function claim(user: string): () => void {
    const count = open.get(user) ?? 0;
    if (most !== null && count >= most) throw tooMany(most);
    open.set(user, count + 1);
    return once(() => leave(open, user));
  }
  return async (c, next) => {
    c.set("claimStream", claim);
    try {
      await next();
    } finally {
      c.get("stream")?.(); // claimed, and never begun
    }
  };
}

function leave(open: Map<string, number>, user: string): void {
  const left = (open.get(user) ?? 1) - 1;
  if (left === 0) open.delete(user);
  else open.set(user, left);
}

function once(work: () => void): () => void {
  let done = false;
  return () => {
    if (!done) work();
    done = true;
  };
}

function tooMany(most: number): AppError {
  const limit = { name: "streams", quota: most };
  return new AppError(
    "rate_limited",
    `${most} streams are open for this user already, long answers among them; close one.`,
    {
      retryAfterS: RETRY_AFTER_S,
      limit,
    },
  );
}

/** Takes a place among the user's open streams, before anything is begun. Throws 429 where there is none. */
export function claimStream(c: Context<HttpEnv>, user: string): void {
  if (!c.get("stream")) c.set("stream", c.get("claimStream")(user));
}

/** Gives what frees the place, to be called when the stream has ended. */
export function holdStream(c: Context<HttpEnv>): () => void {
  const free = c.get("stream");
  c.set("stream", undefined);
  return free ?? (() => {});
}
