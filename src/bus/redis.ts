import type { Carrier } from "../db/carrier.ts";

type Client = Awaited<ReturnType<typeof makeClient>>;
type Log = { info(fields: object, message: string): void; warn(fields: object, message: string): void };

/** Redis may make things faster, never slower: an answer is waited for so long, in milliseconds. */
const PATIENCE_MS = 100;
/** After a silence it is left alone for so long, in milliseconds, so that it is not waited for again and again. */
const PAUSE_MS = 1_000;
const CONNECT_MS = 2_000;
const RECONNECT_MS = 500;

/** A Redis that may come and go. */
export type Redis = {
  /** What a command answers; undefined where Redis is away, silent or refuses: its callers go on without it. */
  ask<T>(command: (client: Client) => Promise<T>): Promise<T | undefined>;
  /** Carries texts to all who are on it; what is sent while it is away is lost. */
  readonly carrier: Carrier;
  close(): Promise<void>;
};

const CHANNEL = "parley:notes";
const LONGEST = 65_536;

/** Connects in the background, and again whenever the connection is lost. */
export async function openRedis(url: string, log: Log): Promise<Redis> {
  const client = await makeClient(url);
  let quietUntil = 0;
  let isAway = false;
  client.on("error", (error) => {
    if (!isAway) log.warn({ err: error }, "Redis is away; going on without it");
    isAway = true;
  });
  client.on("ready", () => {
    isAway = false;
    log.info({}, "Redis is there");
  });
  client.connect().catch(() => {}); // told by the "error" event, and tried again

  const ask: Redis["ask"] = async (command) => {
    if (!client.isReady || performance.now() < quietUntil) return undefined;
    const { promise: late, resolve } = Promise.withResolvers<undefined>();
    const timer = setTimeout(() => {
      quietUntil = performance.now() + PAUSE_MS;
      resolve(undefined);
    }, PATIENCE_MS);
    try {
      return await Promise.race([command(client), late]);
    } catch {
      return undefined; // lost in the middle of it; the "error" event says so
    } finally {
      clearTimeout(timer);
    }
  };
  const carrier: Carrier = {
    longest: LONGEST,
    carriesTyping: true,
    publish: async (text) => void (await ask((one) => one.publish(CHANNEL, text))),
    subscribe: (hear) => subscribe(client, hear),
  };
  return { ask, carrier, close: async () => client.destroy() };
}

/** Over a connection of its own. Once subscribed, the client subscribes again with every new connection by itself. */
async function subscribe(client: Client, hear: (text: string) => void): Promise<() => Promise<void>> {
  const ear = client.duplicate();
  let subscribed = false;
  ear.on("error", () => {}); // the other connection's error says so
  ear.on("ready", () => {
    if (subscribed) return;
    ear.subscribe(CHANNEL, hear).then(
      () => {
        subscribed = true;
      },
      () => {}, // the connection was lost again; the next one subscribes
    );
  });
  ear.connect().catch(() => {});
  return async () => ear.destroy();
}

async function makeClient(url: string) {
  const { createClient } = await import("@redis/client"); // most services run without
  return createClient({
    url,
    disableOfflineQueue: true,
    socket: { connectTimeout: CONNECT_MS, reconnectStrategy: () => RECONNECT_MS },
  });
}
