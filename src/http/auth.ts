import type { HonoRequest, MiddlewareHandler } from "hono";
import type { Config } from "../config.ts";
import { AppError, invalid } from "../core/errors.ts";
import type { Principal } from "../core/identity.ts";
import type { HeldToken, HttpEnv } from "./env.ts";
import type { Logger } from "./log.ts";
import { callerId } from "./schemas.ts";
import { findService } from "./service-keys.ts";
import { type TokenConfig, tokenReader } from "./tokens.ts";

const PUBLIC = /^\/($|health($|\/)|api\/v1\/health$|docs($|\/)|redoc($|\/)|openapi\.json$|webhooks\/)/;
const PUBLIC_METRICS = /^\/metrics\/?$/;

export type AuthConfig = TokenConfig & Pick<Config, "open" | "API_KEYS">;

/** Who calls; with a token also until when, and whether it is still taken. */
export type Caller = { principal: Principal; token?: HeldToken };

/**
 * Who calls; undefined where the request does not show it. Throws 422 for a malformed `X-User-Id`, where that counts, and
 * 503 where that cannot be found out now.
 */
export type Identify = (request: HonoRequest) => Promise<Caller | undefined>;

/** Knows callers by their token or service key; where the service is open, by what they say of themselves. */
export function identifier(config: AuthConfig, log: Pick<Logger, "error">): Identify {
  if (config.open) return async (request) => ({ principal: { role: "open", userId: userNamed(request) } });
  const readToken = tokenReader(config, log);
  return async (request) => {
    const presented = bearerOf(request);
    if (presented === undefined) return undefined;
    const service = findService(config.API_KEYS, presented);
    if (service) return { principal: { role: service.role, service: service.name, userId: userNamed(request) } };
    const found = await readToken(presented);
    const isValid = async () => (await readToken(presented)) !== undefined;
    return found && { principal: found.principal, token: { expiresAt: found.expiresAt, isValid } };
  };
}

/** Finds out who calls, and turns nobody away: what comes before `admit` may count the unknown, too. */
export function identify(find: Identify, isPublic: IsPublic): MiddlewareHandler<HttpEnv> {
  return async (c, next) => {
    const caller = isPublic(c.req) ? undefined : await find(c.req).catch(refuseLater);
    if (caller instanceof AppError) c.set("refusal", caller);
    else if (caller) {
      c.set("principal", caller.principal);
      c.set("token", caller.token);
    }
    await next();
  };
}

function refuseLater(error: unknown): AppError {
  if (error instanceof AppError) return error;
  throw error;
}

/** Lets nobody unknown past the public pages. */
export function admit(isPublic: IsPublic): MiddlewareHandler<HttpEnv> {
  return async (c, next) => {
    if (!isPublic(c.req) && !c.get("principal")) throw c.get("refusal") ?? unauthorized(c.req);
    await next();
  };
}

/** Whether a request is answered whoever sends it. */
export type IsPublic = (request: HonoRequest) => boolean;

export const publicPages =
  ({ METRICS_OPEN }: Pick<Config, "METRICS_OPEN">): IsPublic =>
  ({ method, path }) =>
    method === "OPTIONS" || PUBLIC.test(path) || (METRICS_OPEN && PUBLIC_METRICS.test(path));

/** Throws 403 unless an admin asks, or nobody has to say who he is. */
export function adminOnly(principal: Principal | undefined): void {
  if (!principal || principal.role === "admin" || principal.role === "open") return;
  throw new AppError("forbidden", "This is for an admin.");
}

const unauthorized = (request: HonoRequest) =>
  new AppError(
    "unauthorized",
    bearerOf(request) === undefined
      ? "Send a token: Authorization: Bearer …"
      : "The token is not valid here, or has expired.",
  );

const bearerOf = (request: HonoRequest) => /^Bearer +(\S+)$/i.exec(request.header("authorization") ?? "")?.[1];

function userNamed(request: HonoRequest): string | null {
  const header = request.header("x-user-id");
  if (header === undefined) return null;
  const named = decodeHeader(header);
  if (!callerId.safeParse(named).success) throw invalid("X-User-Id", "must have 1 to 255 characters");
  return named;
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Both runtimes read the bytes of a header as Latin-1, and most clients write UTF-8: what is valid UTF-8 is taken for it. */
function decodeHeader(text: string): string {
  try {
    return utf8.decode(Buffer.from(text, "latin1"));
  } catch {
    return text;
  }
}
