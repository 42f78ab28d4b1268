import type { MiddlewareHandler } from "hono";
import type { HttpEnv } from "./env.ts";

/** What every response says to browsers and caches; what may be kept, and a page that needs more, says so itself. */
export const securityHeaders: MiddlewareHandler<HttpEnv> = async (c, next) => {
  c.header("X-Content-Type-Options", "nosniff");
  c.header("X-Frame-Options", "DENY");
  c.header("Referrer-Policy", "no-referrer");
  c.header("Content-Security-Policy", "default-src 'none'");
  c.header("Cache-Control", "no-store");
  await next();
};
