import type { Context, MiddlewareHandler } from "hono";
import type { Buckets, Rate, Taken } from "../bus/buckets.ts";
import { AppError } from "../core/errors.ts";
import { clientAddress, networkOf } from "./address.ts";
import type { HttpEnv } from "./env.ts";

/** An orchestrator that is told 429 would take the instance for dead; who sends webhooks would give events up. */
const UNLIMITED = /^\/(health($|\/)|api\/v1\/health$|webhooks\/)/;

type Limit = { rate: Rate; buckets: Buckets; proxies: number };

/**
 * Holds each user to a rate, and each address where there is no user. Every response says what is left, in the fields of
 * draft-ietf-httpapi-ratelimit-headers-10. Throws 429 past it.
 */
export function limitRate({ rate, buckets, proxies }: Limit): MiddlewareHandler<HttpEnv> {
  const policy = `"requests";q=${rate.count};w=${Math.ceil(rate.windowMs / 1000)}`;
  return async (c, next) => {
    if (UNLIMITED.test(c.req.path)) return next();
    const key = bucketOf(c, proxies);
    if (key === null) return next();
    const taken = await buckets.take(key);
    c.header("RateLimit-Policy", policy);
    c.header("RateLimit", `"requests";r=${taken.remaining};t=${seconds(taken.fullMs)}`);
    if (!taken.allowed) throw tooFast(rate, taken);
    await next();
  };
}

/**
 * Each user has a bucket; where there is none, each address. A service that names no user where it is looked for, in the
 * header or the query, is not held back: its requests are those of many users.
 */
function bucketOf(c: Context<HttpEnv>, proxies: number): string | null {
  const principal = c.get("principal");
  const isService = principal !== undefined && "service" in principal;
  const userId = principal?.userId ?? (isService ? c.req.query("user_id") : undefined);
  if (userId !== undefined) return `user:${userId}`;
  return isService ? null : `ip:${networkOf(clientAddress(c, proxies))}`;
}

function tooFast({ count, windowMs }: Rate, { waitMs }: Taken): AppError {
  const retryAfterS = Math.max(1, seconds(waitMs));
  const detail = `No more than ${count} requests in ${windowMs / 1000} s; try again in ${retryAfterS} s.`;
  return new AppError("rate_limited", detail, { retryAfterS });
}

/** Rounded up; a sum of fractions may be a hair above a whole one. */
const seconds = (ms: number) => Math.ceil(Math.round(ms) / 1000);
