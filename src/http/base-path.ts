import type { Context, MiddlewareHandler } from "hono";
import { getPathNoStrict } from "hono/utils/url";
import type { HttpEnv } from "./env.ts";

/**
 * The path of a request as routes, logs and limits know it: without a slash at its end, and without the path under which the
 * service is shown. Some proxies take that off, others keep it, so both are answered.
 */
export const routePath =
  (base: string) =>
  (request: Request): string => {
    const path = getPathNoStrict(request);
    if (base === "" || !`${path}/`.startsWith(`${base}/`)) return path;
    return path.slice(base.length) || "/";
  };

export const underBase =
  (base: string): MiddlewareHandler<HttpEnv> =>
  async (c, next) => {
    c.set("basePath", base);
    await next();
  };

/** The path of a request as its client knows it. */
export function clientPath(c: Context<HttpEnv>): string {
  const { pathname } = new URL(c.req.url);
  const base = c.get("basePath") ?? "";
  return `${pathname}/`.startsWith(`${base}/`) ? pathname : base + pathname;
}
