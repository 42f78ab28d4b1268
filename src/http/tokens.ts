import {
  type CryptoKey,
  errors,
  type JWTVerifyGetKey,
  type JWTVerifyOptions,
  type JWTVerifyResult,
  jwtVerify,
  SignJWT,
} from "jose";
import { z } from "zod";
import type { Config } from "../config.ts";
import { AppError } from "../core/errors.ts";
import type { Principal, Role } from "../core/identity.ts";
import { keySet } from "./key-set.ts";
import type { Logger } from "./log.ts";
import { callerId } from "./schemas.ts";

const CLOCK_SKEW_S = 5;

const claims = z.object({ sub: callerId, exp: z.number(), role: z.enum(["user", "agent", "admin"]).default("user") });

/** Whose a token is, and until when it is taken here, in milliseconds since 1970. */
export type Bearer = { principal: Principal; expiresAt: number };

export type TokenConfig = Pick<Config, "JWT_SECRET" | "JWT_JWKS_URL" | "JWT_ISSUER" | "JWT_AUDIENCE">;

/** Finds the user of a token; undefined for one that is not valid here. Throws 503 where its key cannot be had. */
export function tokenReader(config: TokenConfig, log: Pick<Logger, "error">) {
  const keys = keysByAlgorithm(config, log);
  const { JWT_ISSUER: issuer, JWT_AUDIENCE: audience } = config;
  const options: JWTVerifyOptions = {
    algorithms: [...keys.keys()],
    requiredClaims: ["exp", "sub"],
    clockTolerance: CLOCK_SKEW_S,
    ...(issuer !== undefined && { issuer }),
    ...(audience !== undefined && { audience }),
  };
  const findKey: JWTVerifyGetKey = (header, token) => (keys.get(header.alg) ?? noKey)(header, token);
  return async (token: string): Promise<Bearer | undefined> => {
    const payload = await verify(token, findKey, options).then(
      (verified) => claims.safeParse(verified.payload),
      (error: unknown) => {
        if (error instanceof AppError) throw error;
        return undefined; // the reason is the attacker's to guess
      },
    );
    if (!payload?.success) return undefined;
    const { sub: userId, role, exp } = payload.data;
    return { principal: { userId, role }, expiresAt: (exp + CLOCK_SKEW_S) * 1000 };
  };
}

/** A token without a `kid` may be signed by any of the keys of its algorithm. */
async function verify(token: string, findKey: JWTVerifyGetKey, options: JWTVerifyOptions): Promise<JWTVerifyResult> {
  try {
    return await jwtVerify(token, findKey, options);
  } catch (error) {
    if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error;
    for await (const key of error) {
      const verified = await verifyBy(key, { token, options });
      if (verified) return verified;
    }
    throw error;
  }
}

async function verifyBy(key: CryptoKey, { token, options }: { token: string; options: JWTVerifyOptions }) {
  try {
    return await jwtVerify(token, key, options);
  } catch (error) {
    if (error instanceof errors.JWSSignatureVerificationFailed) return undefined;
    throw error;
  }
}

/** Each algorithm has one source of keys, so that nothing published is ever taken for a secret. */
function keysByAlgorithm({ JWT_SECRET: secret, JWT_JWKS_URL: url }: TokenConfig, log: Pick<Logger, "error">) {
  const keys = new Map<string, JWTVerifyGetKey>();
  if (secret !== undefined) {
    const key = new TextEncoder().encode(secret);
    keys.set("HS256", () => key);
  }
  if (url !== undefined) {
    const published = keySet(url, log);
    keys.set("RS256", published).set("ES256", published);
  }
  return keys;
}

const noKey = () => Promise.reject(new errors.JOSEAlgNotAllowed("There is no key of that algorithm."));

/** What a token says. `expires` is jose's: "1h", "30d". */
export type Claims = { sub: string; role: Role; expires: string; issuer?: string; audience?: string };

/** A token as the service takes it that has the same secret. */
export function mintToken(secret: string, { sub, role, expires, issuer, audience }: Claims): Promise<string> {
  const token = new SignJWT({ role }).setProtectedHeader({ alg: "HS256" }).setSubject(sub);
  if (issuer !== undefined) token.setIssuer(issuer);
  if (audience !== undefined) token.setAudience(audience);
  return token.setIssuedAt().setExpirationTime(expires).sign(new TextEncoder().encode(secret));
}
