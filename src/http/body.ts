import type { MiddlewareHandler } from "hono";
import { bodyLimit } from "hono/body-limit";
import { AppError, invalid } from "../core/errors.ts";
import type { HttpEnv } from "./env.ts";
import { isStorable } from "./schemas.ts";

const DEEPEST = 64;

/** Holds a JSON body to `most` bytes, to a sane depth, and to text that both databases can store. */
export function jsonBody(most: number): MiddlewareHandler<HttpEnv>[] {
  const onError = () => {
    throw new AppError("payload_too_large", `The body is larger than ${most} bytes.`);
  };
  const counted = bodyLimit({ maxSize: most, onError });
  // The servers hold a body to its Content-Length; only one without has to be counted, which costs a stream.
  const limit: MiddlewareHandler<HttpEnv> = async (c, next) => {
    const length = c.req.header("content-length");
    if (length === undefined) return c.req.method === "GET" ? next() : counted(c, next);
    if (Number(length) > most) onError();
    return next();
  };
  return [limit, checkText];
}

const checkText: MiddlewareHandler<HttpEnv> = async (c, next) => {
  if (c.req.method === "GET" || c.req.method === "HEAD" || !/json/i.test(c.req.header("content-type") ?? "")) {
    return next();
  }
  const text = await c.req.text();
  if (depthOf(text) > DEEPEST) throw invalid("", `the body may be ${DEEPEST} levels deep at most`);
  if (/\\u(0000|d[89a-f])/i.test(text)) checkStrings(parse(text), []);
  // A body that may be absent may be so with a content type, too.
  if (text === "") Object.assign(c.req.bodyCache, { text: Promise.resolve("{}") });
  await next();
};

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new AppError("malformed_json", "The body is no valid JSON.");
  }
}

/** Brackets open at once, at most; those in strings do not count. */
function depthOf(text: string): number {
  let depth = 0;
  let deepest = 0;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit === 0x22) i = endOfString(text, i);
    else if (unit === 0x7b || unit === 0x5b) deepest = Math.max(deepest, ++depth);
    else if (unit === 0x7d || unit === 0x5d) depth--;
  }
  return deepest;
}

function endOfString(text: string, from: number): number {
  for (let i = from + 1; ; i++) {
    i = text.indexOf('"', i);
    if (i === -1) return text.length;
    let escapes = 0;
    while (text.charCodeAt(i - 1 - escapes) === 0x5c) escapes++;
    if (escapes % 2 === 0) return i;
  }
}

function checkStrings(value: unknown, path: readonly string[]): void {
  if (typeof value === "string" && !isStorable(value)) {
    throw invalid(path.join("."), "must not hold U+0000 or half of a surrogate pair");
  }
  if (typeof value !== "object" || value === null) return;
  for (const [name, inner] of Object.entries(value)) {
    if (!isStorable(name)) throw invalid(path.join("."), "has a name that holds U+0000 or half of a surrogate pair");
    checkStrings(inner, [...path, name]);
  }
}
