import type { MiddlewareHandler } from "hono";
import { isLoopback } from "../config.ts";
import { AppError } from "../core/errors.ts";
import type { HttpEnv } from "./env.ts";

/** An open service trusts whoever reaches it, so no web page may lead a browser to it under a name of its own. */
export const loopbackOnly: MiddlewareHandler<HttpEnv> = async (c, next) => {
  const host = c.req.header("host") ?? new URL(c.req.url).host;
  if (!isLoopback(host.replace(/:\d+$/, ""))) {
    throw new AppError(
      "forbidden",
      "This service is open, so it answers only to localhost; set JWT_SECRET, JWT_JWKS_URL or API_KEYS to close it.",
    );
  }
  await next();
};
