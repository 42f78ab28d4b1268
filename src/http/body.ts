import type { Context, MiddlewareHandler } from "hono";
import { AppError, invalid } from "../core/errors.ts";
import { inTime } from "./body-budget.ts";
import type { HttpEnv } from "./env.ts";
import { unsupportedMediaType } from "./problems.ts";
import { isStorable } from "./schemas.ts";

const DEEPEST = 64;
const HOLD = "hold U+0000 or half of a surrogate pair";
/** Throws where `text()` of a request would put U+FFFD without a word. */
const utf8 = new TextDecoder("utf-8", { fatal: true });

/** What is signed is checked byte by byte, and read by whoever checks it. */
const SIGNED = /^\/webhooks\//;

/** Holds a JSON body to `most` bytes, to a sane depth, and to text that both databases can store. */
export function jsonBody(most: number): MiddlewareHandler<HttpEnv>[] {
  const limit: MiddlewareHandler<HttpEnv> = async (c, next) => {
    if (Number(c.req.header("content-length") ?? 0) > most) throw tooLarge(most);
    return next();
  };
  return [limit, checkText(most)];
}

const tooLarge = (most: number) => new AppError("payload_too_large", `The body is larger than ${most} bytes.`);

const checkText =
  (most: number): MiddlewareHandler<HttpEnv> =>
  async (c, next) => {
    const isJson = /json/i.test(c.req.header("content-type") ?? "");
    if (c.req.method === "GET" || c.req.method === "HEAD" || !isJson || SIGNED.test(c.req.path)) return next();
    const coding = c.req.header("content-encoding");
    if (coding !== undefined && !/^(identity)?$/i.test(coding)) {
      throw unsupportedMediaType("The body must come as it is: no Content-Encoding but identity is taken.");
    }
    const text = decode(await bytesOf(c, most));
    if (depthOf(text) > DEEPEST) throw invalid("", `the body may be ${DEEPEST} levels deep at most`);
    if (/\\u(0000|d[89a-f])/i.test(text)) {
      const found = findUnstorable(parse(text));
      if (found) throw invalid(found.path, found.message);
    }
    // A body that may be absent may be so with a content type, too. What was looked at is what is parsed.
    Object.assign(c.req, { bodyCache: { text: Promise.resolve(text || "{}") } });
    await next();
  };

/** A body as it came. Throws 400 where it breaks off, 413 where it has more than `most` bytes, 408 where it is too slow. */
export function bytesOf(c: Context<HttpEnv>, most: number): Promise<ArrayBuffer | Uint8Array> {
  // The servers hold a body to its Content-Length; only one without has to be counted, which costs a stream.
  const isCounted = c.req.header("content-length") === undefined;
  const reading: Promise<ArrayBuffer | Uint8Array> = isCounted ? counted(c.req.raw.body, most) : c.req.arrayBuffer();
  return inTime(c, reading).catch(brokenOff);
}

async function counted(body: ReadableStream<Uint8Array> | null, most: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body ?? []) {
    size += chunk.length;
    if (size > most) throw tooLarge(most);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function brokenOff(error: unknown): never {
  if (error instanceof AppError) throw error;
  throw new AppError("malformed_json", "The body broke off.");
}

/** Without a byte order mark. */
function decode(bytes: ArrayBuffer | Uint8Array): string {
  try {
    return utf8.decode(bytes);
  } catch {
    throw new AppError("malformed_json", "The body is no valid UTF-8.");
  }
}

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

type Finding = { path: string; message: string };

/** The first text that cannot be stored. A path is made only for that one: a body may have half a million places. */
function findUnstorable(value: unknown): Finding | undefined {
  if (typeof value === "string") return isStorable(value) ? undefined : { path: "", message: `must not ${HOLD}` };
  return typeof value === "object" && value !== null ? findInside(value) : undefined;
}

function findInside(value: object): Finding | undefined {
  for (const [name, inner] of Array.isArray(value) ? value.entries() : Object.entries(value)) {
    if (typeof name === "string" && !isStorable(name)) return { path: "", message: `has a name that must not ${HOLD}` };
    const found = findUnstorable(inner);
    if (found) return { path: found.path ? `${name}.${found.path}` : String(name), message: found.message };
  }
  return undefined;
}
