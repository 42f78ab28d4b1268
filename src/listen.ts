import type { Server } from "node:http";
import { createServer } from "node:net";
import { serve } from "@hono/node-server";
import type { Config } from "./config.ts";
import { reasonOf } from "./secrets.ts";
import type { Parley } from "./start.ts";

/**
 * What a client may take, in milliseconds: to send its headers, to send a whole request, to leave an answer untaken, and
 * to leave a connection unused (`keepAlive`, as long as an answer if it is left out). None of it runs while an answer is
 * being made or streamed.
 */
export type Patience = { headers: number; request: number; idle: number; keepAlive?: number };

const PATIENCE: Patience = { headers: 15_000, request: 60_000, idle: 60_000 };
/** Bun takes no more, in seconds. */
const BUN_IDLE_MOST_S = 255;
/** Of a request line and its headers; Bun's own limit is the same. */
const MAX_HEADER_BYTES = 16_384;
/** Of two the first would count here and perhaps the second before us; on Bun one with a slash would be part of the path. */
const HOST_HEADER = /^([\w.-]*|\[[\da-f:.]+\])(:\d+)?$/i;
const refuse = () => new Response(null, { status: 400, headers: { Connection: "close" } });
const beFull = () => new Response(null, { status: 503, headers: { Connection: "close", "Retry-After": "1" } });
const IDLE_CHECK_MS = 50;

export type Listening = { port: number; close(): Promise<void> };
type Fetch = Parley["app"]["fetch"];
type Address = Pick<Config, "PORT" | "HOST" | "MAX_CONNECTIONS" | "KEEP_ALIVE_TIMEOUT_S">;

type Place = Pick<Address, "PORT" | "HOST">;

/** Rejects where the address cannot be had. */
export function tryAddress({ PORT, HOST }: Place): Promise<void> {
  return new Promise((resolve, reject) => {
    const server = createServer().on("error", reject);
    server.listen(PORT, bare(HOST), () => server.close(() => resolve()));
  });
}

/** A line on why nobody can listen there, and what to do about it. */
export function whyNoListener(error: unknown, { PORT, HOST }: Place): string {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  if (code === "EADDRINUSE") return `PORT: ${PORT} is in use by another program; end that one, or set PORT to another`;
  if (code === "EACCES") return `PORT: ${PORT} may not be opened by this user; take one above 1023`;
  if (code === "EADDRNOTAVAIL") return `HOST: ${HOST} is no address of this machine`;
  if (code === "ENOTFOUND" || code === "EAI_AGAIN") return `HOST: ${HOST} is no name that has an address`;
  return `HOST, PORT: ${reasonOf(error)}`;
}

export function urlOf({ PORT, HOST }: Place): string {
  const host = bare(HOST);
  return `http://${host.includes(":") ? `[${host}]` : host}:${PORT}`;
}

/** An address to listen on everywhere is none to ask at. */
export const reachable = (host: string): string => ({ "0.0.0.0": "127.0.0.1", "::": "::1" })[bare(host)] ?? host;

const bare = (host: string): string => host.replace(/^\[|\]$/g, "");

/** Takes requests on the runtime at hand. Rejects where the address cannot be had. */
export async function listen(fetch: Fetch, address: Address, own?: Patience): Promise<Listening> {
  const patience = own ?? { ...PATIENCE, keepAlive: address.KEEP_ALIVE_TIMEOUT_S * 1000 };
  const one: Fetch = (request, env) => {
    Object.assign(env ?? {}, { idleMs: patience.idle });
    return HOST_HEADER.test(request.headers.get("host") ?? "") ? fetch(request, env) : refuse();
  };
  return process.versions["bun"] ? listenOnBun(one, address, patience) : listenOnNode(one, address, patience);
}

/** Bun gives headers ten to twelve seconds, whatever is set; a body that comes too slowly counts as idle. */
function listenOnBun(fetch: Fetch, { PORT, HOST, MAX_CONNECTIONS }: Address, patience: Patience): Listening {
  const { request, idle, keepAlive = Math.min(request, idle) } = patience; // it has one timer for all of them
  const idleTimeout = Math.min(BUN_IDLE_MOST_S, Math.ceil(keepAlive / 1000));
  const server = Bun.serve({
    port: PORT,
    hostname: HOST,
    idleTimeout,
    fetch(request, bun) {
      // It counts no connections, only requests that have no answer yet.
      if (bun.pendingRequests > MAX_CONNECTIONS) return beFull();
      return fetch(withAddress(request), {
        holdOpen: () => holdOpen(request),
        address: () => bun.requestIP(request)?.address,
      });
    },
  });
  // Its client takes files for itself with the first call out, and ends the process where there are none left by then.
  globalThis.fetch.preconnect(server.url.href);
  function holdOpen(request: Request) {
    server.timeout(request, 0);
    return () => server.timeout(request, idleTimeout);
  }
  return { port: server.port ?? PORT, close: () => server.stop() };
}

/** Of a request without a Host (HTTP/1.0) Bun gives the path alone, in which a query could pass for another path. */
const withAddress = (request: Request): Request =>
  request.url.startsWith("/") ? new Request(`http://localhost${request.url}`, request) : request;

function listenOnNode(fetch: Fetch, { PORT, HOST, MAX_CONNECTIONS }: Address, patience: Patience): Promise<Listening> {
  const serverOptions = {
    headersTimeout: patience.headers,
    requestTimeout: patience.request,
    connectionsCheckingInterval: Math.ceil(patience.headers / 5),
    keepAliveTimeout: patience.keepAlive ?? patience.idle,
    maxHeaderSize: MAX_HEADER_BYTES,
  };
  return new Promise((resolve, reject) => {
    const server = serve({ fetch, port: PORT, hostname: HOST, serverOptions }, ({ port }) =>
      resolve({ port, close: () => closeOnNode(server) }),
    ) as Server; // the options are those of HTTP/1
    server.maxConnections = MAX_CONNECTIONS;
    server.maxHeadersCount = 0; // more would be dropped unseen; their bytes are bounded
    server.on("error", reject);
    cutWhoTakesNothing(server, patience.idle);
  });
}

/** Node would keep an answer for ever for a client that does not read it. */
function cutWhoTakesNothing(server: Server, idle: number): void {
  server.on("request", ({ socket }, response) => {
    response.once("prefinish", () => {
      if (socket.writableLength === 0) return;
      socket.setTimeout(idle);
      // Before Node's own listener, which sets the time that the connection may be kept.
      response.prependOnceListener("finish", () => socket.setTimeout(0));
    });
  });
}

function closeOnNode(server: Server): Promise<void> {
  return new Promise((done) => {
    // A connection whose last answer promised to keep it falls idle only now.
    const idle = setInterval(() => server.closeIdleConnections(), IDLE_CHECK_MS);
    server.close(() => {
      clearInterval(idle);
      done();
    });
  });
}
