import type { MiddlewareHandler } from "hono";
import { jwtVerify, SignJWT } from "jose";
import { z } from "zod";
import { AppError, invalid } from "../core/errors.ts";
import type { Principal, Role } from "../core/identity.ts";
import type { HttpEnv } from "./env.ts";
import { callerId } from "./schemas.ts";

const CLOCK_SKEW_S = 5;
const ALGORITHM = "HS256";

const PUBLIC = /^\/($|health($|\/)|api\/v1\/health$|docs($|\/)|redoc($|\/)|openapi\.json$)/;

const claims = z.object({ sub: callerId, role: z.enum(["user", "agent", "admin"]).default("user") });

/** Finds out who calls: by the token where there is a secret, else by what the request says of itself. */
export function authenticate(secret: string | undefined): MiddlewareHandler<HttpEnv> {
  if (secret === undefined) return believe;
  const key = new TextEncoder().encode(secret);
  return async (c, next) => {
    if (c.req.method !== "OPTIONS" && !PUBLIC.test(c.req.path)) {
      c.set("principal", await verifyToken(key, c.req.header("authorization")));
    }
    await next();
  };
}

const believe: MiddlewareHandler<HttpEnv> = async (c, next) => {
  if (PUBLIC.test(c.req.path)) return next();
  const named = c.req.header("x-user-id");
  if (named !== undefined && !callerId.safeParse(named).success) {
    throw invalid("X-User-Id", "must have 1 to 255 characters");
  }
  c.set("principal", { role: "open", userId: named ?? null });
  await next();
};

async function verifyToken(key: Uint8Array, header: string | undefined): Promise<Principal> {
  const token = /^Bearer +(\S+)$/i.exec(header ?? "")?.[1];
  if (!token) throw new AppError("unauthorized", "Send a token: Authorization: Bearer …");
  const payload = await jwtVerify(token, key, {
    algorithms: [ALGORITHM],
    requiredClaims: ["exp", "sub"],
    clockTolerance: CLOCK_SKEW_S,
  }).then(
    (verified) => claims.safeParse(verified.payload),
    () => undefined, // the reason is the attacker's to guess
  );
  if (!payload?.success) throw new AppError("unauthorized", "The token is not valid here, or has expired.");
  return { userId: payload.data.sub, role: payload.data.role };
}

/** A token as `authenticate` takes it. `expires` is jose's: "1h", "30d". */
export function mintToken(secret: string, { sub, role, expires }: { sub: string; role: Role; expires: string }) {
  return new SignJWT({ role })
    .setProtectedHeader({ alg: ALGORITHM })
    .setSubject(sub)
    .setIssuedAt()
    .setExpirationTime(expires)
    .sign(new TextEncoder().encode(secret));
}
