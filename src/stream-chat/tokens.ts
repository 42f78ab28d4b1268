import { SignJWT } from "jose";

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

function sign(secret: string, claims: object, { now, ttl }: { now: number; ttl: number }): Promise<string> {
  const seconds = Math.floor(now / 1000);
  return new SignJWT({ ...claims })
    .setProtectedHeader({ alg: "HS256", typ: "JWT" })
    .setIssuedAt(seconds - SKEW_S)
    .setExpirationTime(seconds + ttl)
    .sign(new TextEncoder().encode(secret));
}
