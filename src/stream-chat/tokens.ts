import { SignJWT } from "jose";
import { AppError } from "../core/errors.ts";
import { streamUserId } from "./users.ts";

/** Stream refuses a token from its future (code 42), and no two clocks agree; in seconds. */
const SKEW_S = 5;
/** What the service signs for itself is old after so long, in seconds. */
const SERVER_TTL_S = 600;

/** A token for calls of this service, kept until half its time is over. */
export function serverToken(secret: string, clock: () => number): () => Promise<string> {
  let kept: { token: Promise<string>; since: number } | undefined;
  return () => {
    const now = clock();
    const age = kept ? now - kept.since : Infinity;
    // A clock that was set back has made a token from the future.
    if (!kept || age < 0 || age > (SERVER_TTL_S / 2) * 1000) {
      kept = { token: sign(secret, { server: true }, { now, ttl: SERVER_TTL_S }), since: now };
    }
    return kept.token;
  };
}

/**
 * A token with which a client of Stream is this user. `now` is in milliseconds, `ttl` in seconds. It has an `iat`: Stream
 * can revoke a user's tokens only by when they were issued (https://getstream.io/chat/docs/node/tokens_and_authentication/).
 */
export const userToken = (secret: string, { userId, now, ttl }: { userId: string; now: number; ttl: number }) =>
  sign(secret, { user_id: userId }, { now, ttl });

/** In seconds. Whoever loses access here keeps it there for as long; Stream's clients ask for a new token by themselves. */
const USER_TTL_S = 3_600;

type App = { apiKey: string; secret: string; assistantId: string };

/** Gives a user what its client of Stream needs; `expiresAt` is in milliseconds. Throws 403 for the assistant's id. */
export function tokenIssuer({ apiKey, secret, assistantId }: App, clock: () => number) {
  return async (self: string) => {
    const userId = streamUserId(self);
    if (userId === assistantId) throw new AppError("forbidden", "This user is the assistant at Stream.");
    const now = Math.floor(clock() / 1000) * 1000; // tokens know whole seconds
    const token = await userToken(secret, { userId, now, ttl: USER_TTL_S });
    return { token, apiKey, userId, expiresAt: now + USER_TTL_S * 1000 };
  };
}

function sign(secret: string, claims: object, { now, ttl }: { now: number; ttl: number }): Promise<string> {
  const seconds = Math.floor(now / 1000);
  return new SignJWT({ ...claims })
    .setProtectedHeader({ alg: "HS256", typ: "JWT" })
    .setIssuedAt(seconds - SKEW_S)
    .setExpirationTime(seconds + ttl)
    .sign(new TextEncoder().encode(secret));
}
