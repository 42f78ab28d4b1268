import { createRemoteJWKSet, customFetch, errors, type FetchImplementation, type JWTVerifyGetKey } from "jose";
import { z } from "zod";
import { AppError } from "../core/errors.ts";
import type { Logger } from "./log.ts";

/** What one look at the key server may take, in milliseconds; a request waits for no more than one. */
const TIMEOUT_MS = 2_000;
/** For so long after an answer, or none, tokens make nobody ask again. */
const ASK_AGAIN_MS = 5_000;
/** A key that was withdrawn is known for so long. */
const REFRESH_MS = 600_000;

/** What a token's own header brings about, whatever the key server does. */
const OF_TOKEN = [errors.JWKSNoMatchingKey, errors.JWKSMultipleMatchingKeys, errors.JOSENotSupported];

/** Other entries are left out: one that is no key spoils none of the rest. */
const published = z.object({ keys: z.array(z.unknown()) }).transform(({ keys }, context) => {
  const found = keys.filter((key) => typeof key === "object" && key !== null && !Array.isArray(key));
  if (found.length === 0 && keys.length > 0) context.addIssue({ code: "custom", message: "none of its keys is one" });
  return { keys: found };
});

/**
 * The public keys at `url`: fetched for the first token, for a `kid` that is not known, and every ten minutes while
 * tokens come. Keys that are known stay so while the server fails, which the log tells. Whoever shows another then may be
 * right: throws 503, within two seconds, since a 401 would sign people out.
 */
export function keySet(url: string, log: Pick<Logger, "error">): JWTVerifyGetKey {
  let refreshAt = Number.POSITIVE_INFINITY;
  let failureUntil = 0;

  const ask: FetchImplementation = async (...request) => {
    if (failureUntil > Date.now()) throw unavailable();
    refreshAt = Date.now() + REFRESH_MS;
    return fetchSet(...request).catch((error: unknown) => {
      note(error);
      throw unavailable();
    });
  };
  const note = (error: unknown) => {
    if (failureUntil > Date.now()) return;
    failureUntil = Date.now() + ASK_AGAIN_MS;
    log.error({ err: error }, "the keys at JWT_JWKS_URL cannot be read; tokens of keys not known yet are answered 503");
  };
  // A key's age is ours to look at: jose would forget the keys it has before it asks for others.
  const keys = remote(url, { [customFetch]: ask, cacheMaxAge: Number.POSITIVE_INFINITY });
  return async (header, token) => {
    if (Date.now() >= refreshAt) await keys.reload().catch(note);
    return keys(header, token).catch((error: unknown) => {
      if (!(error instanceof AppError) && !OF_TOKEN.some((kind) => error instanceof kind)) note(error);
      throw error;
    });
  };
}

/** How many keys the server has. Throws where it cannot be read. */
export async function countKeys(url: string): Promise<number> {
  const keys = remote(url, { [customFetch]: fetchSet });
  await keys.reload();
  return keys.jwks()?.keys.length ?? 0;
}

const remote = (url: string, options: Parameters<typeof createRemoteJWKSet>[1]) =>
  createRemoteJWKSet(new URL(url), { timeoutDuration: TIMEOUT_MS, cooldownDuration: ASK_AGAIN_MS, ...options });

const fetchSet: FetchImplementation = async (...request) => {
  const response = await fetch(...request).catch((error: unknown) => {
    throw error instanceof TypeError && error.cause ? error.cause : error; // on Node "fetch failed" is all it says
  });
  if (response.status !== 200) {
    await response.body?.cancel();
    throw new Error(`The key server answered ${response.status}.`);
  }
  const set = published.safeParse(await response.json().catch(() => undefined));
  if (!set.success) throw new Error("The key server's answer is no set of keys.");
  return Response.json(set.data);
};

const unavailable = () =>
  new AppError("issuer_unavailable", "The keys of the issuer of tokens cannot be read; try again in a moment.", {
    retryAfterS: ASK_AGAIN_MS / 1000,
  });
