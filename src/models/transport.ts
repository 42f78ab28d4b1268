import { pipeline, Readable } from "node:stream";
import { createUnzip } from "node:zlib";
import { Agent, EnvHttpProxyAgent, getGlobalDispatcher } from "undici";

export type Call = {
  url: string;
  method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  headers: Record<string, string>;
  body: string | null;
  signal: AbortSignal;
};

/** An answer whose head has come. One of `text` and `chunks` is read; then, or instead, `release` is called. */
export type Answer = {
  status: number;
  /** By lower-case name. */
  header(name: string): string | undefined;
  /** The beginning of the body, for what is no stream. */
  text(): Promise<string>;
  /** The body's bytes as they arrive. To leave the loop closes nothing. */
  chunks: AsyncIterable<Uint8Array>;
  release(): void;
};

/** The one way out. It keeps no time: whoever calls aborts the signal, which closes the connection. */
export type Transport = { send(call: Call): Promise<Answer>; close(): Promise<void> };

/** Bytes of a body that are read whole, at most. */
const TEXT_MOST = 1_048_576;
/** An answer that is complete may take this long to close before its connection is given up, in milliseconds. */
const RELEASE_MS = 1_000;
/** Chunks that may wait to be read before the connection is held back. */
const CHUNKS_MOST = 64;
const CONNECT_MS = 10_000;

/** On Bun its own fetch; on Node undici's `request`, which costs a quarter of its `fetch` and decodes nothing unasked. */
export const createTransport = (): Transport => (process.versions["bun"] ? bunTransport() : undiciTransport());

function bunTransport(): Transport {
  return {
    async send({ url, ...init }) {
      const response = await fetch(url, { ...init, decompress: false, redirect: "manual" });
      const reader = response.body?.getReader();
      const next = async (): Promise<IteratorResult<Uint8Array, undefined>> => {
        const read = await reader?.read();
        return !read || read.done ? { done: true, value: undefined } : { done: false, value: read.value };
      };
      const header = (name: string) => response.headers.get(name) ?? undefined;
      return answerOf({ status: response.status, header, next, destroy: () => reader?.cancel() });
    },
    close: async () => {},
  };
}

function undiciTransport(): Transport {
  // A cap on connections would hold turns back.
  const options = {
    headersTimeout: 0,
    bodyTimeout: 0,
    keepAliveTimeout: 30_000,
    connect: { timeout: CONNECT_MS },
  };
  const isProxied = getGlobalDispatcher() instanceof EnvHttpProxyAgent;
  const agent = isProxied ? new EnvHttpProxyAgent(options) : new Agent(options);
  return {
    async send({ url, ...options }) {
      const { origin, pathname, search } = new URL(url);
      const { statusCode, headers, body } = await agent.request({ origin, path: pathname + search, ...options });
      const header = (name: string) => [headers[name]].flat()[0];
      return answerOf({ status: statusCode, header, next: arrivals(body), destroy: () => body.destroy() });
    },
    close: () => agent.close(),
  };
}

type Read = IteratorResult<Uint8Array, undefined>;

/** A body's chunks, then its end or its error: unlike a stream's own iterator, what came before an error is not lost. */
function arrivals(body: Readable): () => Promise<Read> {
  const chunks: Uint8Array[] = [];
  let end: (() => Promise<Read>) | undefined;
  let wake = () => {};
  const finish = (how: () => Promise<Read>) => {
    end ??= how;
    wake();
  };
  body.on("data", (chunk: Uint8Array) => {
    if (chunks.push(chunk) >= CHUNKS_MOST) body.pause();
    wake();
  });
  body.on("end", () => finish(async () => ({ done: true, value: undefined })));
  body.on("error", (error) => finish(() => Promise.reject(error)));
  body.on("close", () => finish(() => Promise.reject(new Error("the body was closed"))));
  return async () => {
    while (chunks.length === 0 && !end) await new Promise<void>((resolve) => (wake = resolve));
    const value = chunks.shift();
    if (chunks.length === 0 && body.isPaused()) body.resume();
    return value ? { done: false, value } : (end?.() ?? { done: true, value: undefined });
  };
}

type Raw = Pick<Answer, "status" | "header"> & {
  next(): Promise<IteratorResult<Uint8Array, undefined>>;
  destroy(): unknown;
};

const GZIP = [0x1f, 0x8b];
const ZLIB = 0x78;

/** Nobody is asked for compressed bodies, and some send them all the same, or only say so. gzip and deflate are taken. */
function decoded({ header, next }: Raw): Raw["next"] {
  if (!/^(x-)?gzip$|^deflate$/i.test(header("content-encoding")?.trim() ?? "")) return next;
  let inner: Raw["next"] | undefined;
  return async () => {
    if (inner) return inner();
    const first = await next();
    const isCompressed = !first.done && (GZIP.every((byte, i) => first.value[i] === byte) || first.value[0] === ZLIB);
    inner = isCompressed ? unzipped(first.value, next) : next;
    return isCompressed ? inner() : first;
  };
}

function unzipped(first: Uint8Array, next: Raw["next"]): Raw["next"] {
  async function* all() {
    yield first;
    for (let read = await next(); !read.done; read = await next()) yield read.value;
  }
  return arrivals(pipeline(Readable.from(all()), createUnzip(), () => {})); // an error comes out of the body, too
}

function answerOf(raw: Raw): Answer {
  const { status, header, destroy } = raw;
  const next = decoded(raw);
  const chunks = { [Symbol.asyncIterator]: () => ({ next }) };
  return {
    status,
    header,
    chunks,
    async text() {
      const parts: Uint8Array[] = [];
      let size = 0;
      for await (const part of chunks) {
        parts.push(part);
        size += part.length;
        if (size > TEXT_MOST) break;
      }
      return Buffer.concat(parts).toString("utf8", 0, TEXT_MOST);
    },
    // A connection goes back to its pool only when the answer was read to its end, so what little is left is read away.
    release() {
      const timer = setTimeout(destroy, RELEASE_MS);
      const done = () => clearTimeout(timer);
      readAway(next).then(done, done); // an error means that it is closed already
    },
  };
}

async function readAway(next: Raw["next"]): Promise<void> {
  while (!(await next()).done);
}
