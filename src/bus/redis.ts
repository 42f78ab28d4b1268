import { sleep } from "../core/time.ts";
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

/** Connects in the background, and again whenever the connection is lost. An answer is waited for `patienceMs`. */
export async function openRedis(url: string, log: Log, patienceMs = PATIENCE_MS): Promise<Redis> {
  const client = await makeClient(url, RECONNECT_MS);
  const report = reporter(log);
  let quietUntil = 0; // 0 while it answers
  client.on("error", report.away);
  client.on("ready", report.there);
  client.connect().catch(() => {}); // told by the "error" event, and tried again

  const ask: Redis["ask"] = async (command) => {
    const now = performance.now();
    if (!client.isReady || now < quietUntil) return undefined;
    if (quietUntil > 0) quietUntil = now + PAUSE_MS; // after a silence one asks, and all others go on without
    const { promise: late, resolve } = Promise.withResolvers<undefined>();
    const timer = setTimeout(() => {
      quietUntil = performance.now() + PAUSE_MS;
      report.away(new Error(`Redis did not answer within ${patienceMs} ms`));
      resolve(undefined);
    }, patienceMs);
    try {
      const answer = await Promise.race([command(client), late]);
      if (answer === undefined) return undefined;
      quietUntil = 0;
      report.there();
      return answer;
    } catch (error) {
      if (client.isReady) report.refused(error); // else it was lost in the middle of it: the "error" event says so
      return undefined;
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

/** Says each change once. */
function reporter(log: Log) {
  let said: "nothing" | "there" | "away" = "nothing";
  let hasRefused = false;
  return {
    there() {
      if (said !== "there") log.info({}, "Redis is there");
      said = "there";
    },
    away(error: unknown) {
      if (said !== "away") log.warn({ err: error }, "Redis is away; going on without it");
      said = "away";
    },
    refused(error: unknown) {
      if (!hasRefused) log.warn({ err: error }, "Redis refuses a command; going on without it");
      hasRefused = true;
    },
  };
}

/** Throws where a Redis cannot be used, or does not answer within `ms`. */
export async function inspectRedis(url: string, ms: number): Promise<void> {
  const client = await makeClient(url, false);
  const late = new AbortController();
  client.on("error", () => {}); // what it says is thrown as well
  try {
    const answered = client.connect().then(() => client.ping());
    if (!(await Promise.race([answered, sleep(ms, late.signal)]))) throw new Error("does not answer");
  } finally {
    late.abort();
    client.destroy();
  }
}

async function makeClient(url: string, reconnectStrategy: number | false) {
  const { createClient } = await import("@redis/client"); // most services run without
  return createClient({
    url,
    disableOfflineQueue: true,
    socket: { connectTimeout: CONNECT_MS, reconnectStrategy },
  });
}
