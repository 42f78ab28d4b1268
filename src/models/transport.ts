import { Agent, type Dispatcher } from "undici";

/** The bytes of an answer as they arrive. To leave the loop closes nothing: `release` does. */
export type Body = { chunks: AsyncIterable<Uint8Array>; release(): void };

/** The one way out. `fetch` is what the vendors' clients are given. */
export type Transport = {
  fetch(url: string | URL | Request, init?: RequestInit): Promise<Response>;
  open(response: Response): Body;
  close(): Promise<void>;
};

/** Bytes of an error's body that are read, at most: only its code is wanted. */
const ERROR_BODY_MOST = 65_536;
/** An answer that is complete may take this long to close before its connection is given up, in milliseconds. */
const RELEASE_MS = 1_000;

/** On Bun its own fetch; on Node undici's `request`, which costs a quarter of its `fetch` and decodes nothing unasked. */
export const createTransport = (): Transport => (process.versions["bun"] ? bunTransport() : undiciTransport());

function bunTransport(): Transport {
  return {
    fetch: (url, init) => fetch(url, { ...init, decompress: false }),
    open(response) {
      const reader = response.body?.getReader();
      if (!reader) return { chunks: none(), release: () => {} };
      const next = async (): Promise<IteratorResult<Uint8Array, undefined>> => {
        const { done, value } = await reader.read();
        return done ? { done, value: undefined } : { done, value };
      };
      return releasable({ next }, () => reader.cancel());
    },
    close: async () => {},
  };
}

function undiciTransport(): Transport {
  // Timeouts are the dispatch's own. A cap on connections would hold turns back.
  const agent = new Agent({
    headersTimeout: 0,
    bodyTimeout: 0,
    keepAliveTimeout: 30_000,
    connect: { timeout: 10_000 },
  });
  const bodies = new WeakMap<Response, Dispatcher.ResponseData["body"]>();
  return {
    async fetch(url, init = {}) {
      const { origin, pathname, search } = new URL(url instanceof Request ? url.url : url);
      const answer = await agent.request({
        origin,
        path: pathname + search,
        method: (init.method ?? "GET") as Dispatcher.HttpMethod,
        headers: new Headers(init.headers),
        body: typeof init.body === "string" ? init.body : null,
        signal: init.signal ?? null,
      });
      const head = { status: answer.statusCode, headers: headersFrom(answer.headers) };
      if (answer.statusCode >= 400) return new Response(await beginning(answer.body), head);
      if (!head.headers.get("content-type")?.includes("event-stream")) {
        return new Response(await answer.body.text(), head);
      }
      const response = new Response(null, head);
      bodies.set(response, answer.body);
      return response;
    },
    open(response) {
      const body = bodies.get(response);
      if (!body) return { chunks: response.body ?? none(), release: () => {} };
      const iterator = body.iterator({ destroyOnReturn: false })[Symbol.asyncIterator]();
      return releasable(iterator, () => body.destroy());
    },
    close: () => agent.close(),
  };
}

/** A connection goes back to its pool only when the answer was read to its end, so what little is left is read away. */
function releasable(iterator: AsyncIterator<Uint8Array>, destroy: () => unknown): Body {
  const next = () => iterator.next();
  const chunks = { [Symbol.asyncIterator]: () => ({ next }) };
  const readAway = async () => {
    while (!(await next()).done);
  };
  return {
    chunks,
    release() {
      const timer = setTimeout(destroy, RELEASE_MS);
      readAway().then(
        () => clearTimeout(timer),
        () => clearTimeout(timer), // closed already
      );
    },
  };
}

async function* none(): AsyncGenerator<Uint8Array> {}

function headersFrom(source: Record<string, string | string[] | undefined>): Headers {
  const headers = new Headers();
  for (const [name, value] of Object.entries(source)) {
    for (const one of Array.isArray(value) ? value : [value]) if (one !== undefined) headers.append(name, one);
  }
  return headers;
}

async function beginning(body: AsyncIterable<Uint8Array>): Promise<string> {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of body) {
    parts.push(part);
    size += part.length;
    if (size >= ERROR_BODY_MOST) break; // leaving the loop closes the connection
  }
  return Buffer.concat(parts).toString("utf8", 0, ERROR_BODY_MOST);
}
