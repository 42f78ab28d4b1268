import type { MiddlewareHandler } from "hono";
import { isLoopback } from "../config.ts";
import { AppError } from "../core/errors.ts";
import type { HttpEnv } from "./env.ts";

/**
 * An open service trusts whoever reaches it, so no web page may lead a browser to it under a name of its own. A request
 * without a Host (HTTP/1.0) comes from no browser.
 */
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

const READING = new Set(["GET", "HEAD", "OPTIONS"]);
const SIGNED = /^\/webhooks\//;
const OWN_SITE = new Set(["same-origin", "none"]);

/**
 * Nobody has to say who he is at an open service, so what a browser sends there at the wish of another site must change
 * nothing. Browsers say where a request comes from, in `Sec-Fetch-Site` or else in `Origin`; whoever sends neither is none.
 * A webhook is signed, which no page can do.
 */
export function sameSiteOnly(allowed: readonly string[]): MiddlewareHandler<HttpEnv> {
  const isAllowed = (origin: string) => allowed.includes("*") || allowed.includes(origin);
  return async (c, next) => {
    const [site, origin] = [c.req.header("sec-fetch-site"), c.req.header("origin")];
    const isOwn = site === undefined ? isOriginOf(origin, c.req.header("host")) : OWN_SITE.has(site);
    if (!READING.has(c.req.method) && !SIGNED.test(c.req.path) && !isOwn && !isAllowed(origin ?? "")) {
      throw new AppError(
        "forbidden",
        "This service is open, so pages of other sites may change nothing here; list a page's origin in ALLOWED_ORIGINS if it may.",
      );
    }
    await next();
  };
}

const isOriginOf = (origin: string | undefined, host = "") =>
  origin === undefined || URL.parse(origin)?.host === host.toLowerCase();
