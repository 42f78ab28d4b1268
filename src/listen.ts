import { serve } from "@hono/node-server";
import type { Config } from "./config.ts";
import type { Parley } from "./start.ts";

const IDLE_CONNECTION_S = 60;
const IDLE_CHECK_MS = 50;

type Listening = { port: number; close(): Promise<void> };
type Fetch = Parley["app"]["fetch"];

/** Takes requests on the runtime at hand. Rejects where the address cannot be had. */
export async function listen(fetch: Fetch, config: Config): Promise<Listening> {
  return process.versions["bun"] ? listenOnBun(fetch, config) : listenOnNode(fetch, config);
}

function listenOnBun(fetch: Fetch, { PORT, HOST }: Config): Listening {
  const server = Bun.serve({
    port: PORT,
    hostname: HOST,
    idleTimeout: IDLE_CONNECTION_S,
    fetch: (request, bun) => fetch(request, { timeout: (of, seconds) => bun.timeout(of, seconds) }),
  });
  return { port: server.port ?? PORT, close: () => server.stop() };
}

function listenOnNode(fetch: Fetch, { PORT, HOST }: Config): Promise<Listening> {
  return new Promise((resolve, reject) => {
    const server = serve({ fetch, port: PORT, hostname: HOST }, ({ port }) => {
      const close = () =>
        new Promise<void>((done) => {
          // A connection whose last answer promised to keep it falls idle only now.
          const idle = setInterval(
            () => "closeIdleConnections" in server && server.closeIdleConnections(),
            IDLE_CHECK_MS,
          );
          server.close(() => {
            clearInterval(idle);
            done();
          });
        });
      resolve({ port, close });
    });
    server.on("error", reject);
  });
}
