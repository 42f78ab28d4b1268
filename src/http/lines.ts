import type { MiddlewareHandler } from "hono";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import type { HttpEnv } from "./env.ts";

/** JSON ends with a line end, so that a terminal shows its prompt on a line of its own. */
export const endLines: MiddlewareHandler<HttpEnv> = (c, next) => {
  const json = (value: unknown, status?: ContentfulStatusCode, headers?: Record<string, string>) =>
    c.body(`${JSON.stringify(value)}\n`, status, { "Content-Type": "application/json", ...headers });
  Object.assign(c, { json });
  return next();
};
