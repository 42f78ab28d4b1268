import pkg from "../package.json" with { type: "json" };
import { createApp } from "./app.ts";
import { type Buckets, localBuckets, sharedBuckets } from "./bus/buckets.ts";
import { openBus } from "./bus/bus.ts";
import { sharedCache } from "./bus/cache.ts";
import { openRedis, type Redis } from "./bus/redis.ts";
import type { Config } from "./config.ts";
import { drainTurns } from "./core/launch.ts";
import { createLive, type TurnDeps } from "./core/live.ts";
import { sleep } from "./core/time.ts";
import { heedCancellations, startUpkeep } from "./core/upkeep.ts";
import { createWatch } from "./core/watch.ts";
import { announcing } from "./db/announcing.ts";
import { openDatabase } from "./db/index.ts";
import type { Logger } from "./http/log.ts";
import { createDispatch } from "./models/dispatch.ts";
import { createRegistry } from "./models/registry.ts";
import { createTransport } from "./models/transport.ts";
import type { ModelList, Services } from "./services.ts";

/** What connections get to close once no turn runs, in milliseconds. */
const LEAVING_MS = 2_000;

export type Parley = {
  app: ReturnType<typeof createApp>;
  models: ModelList;
  /** From now on `/health/ready` says so. */
  ready(): void;
  /** Turns away new work, waits for running turns, then closes everything. `closed` resolves when no request is left. */
  stop(closed?: Promise<void>): Promise<void>;
};

export const { version } = pkg;

/** Puts the service together over an open, migrated database. Throws where the database cannot be used. */
export async function startParley(config: Config, log: Logger): Promise<Parley> {
  const database = await openDatabase(config.DATABASE_URL, { synchronous: config.SQLITE_SYNCHRONOUS });
  const redis = config.REDIS_URL === undefined ? null : await openRedis(config.REDIS_URL, log);
  const bus = await openBus(redis?.carrier ?? database.carrier, log);
  const db = announcing(database, (conversationId) => bus.send({ type: "changed", conversationId }));
  const transport = createTransport();
  const registry = createRegistry(config.models, transport);
  const timeouts = {
    firstToken: config.FIRST_TOKEN_TIMEOUT_MS,
    lastFirstToken: config.LAST_FIRST_TOKEN_TIMEOUT_MS,
    idle: config.IDLE_TIMEOUT_MS,
    total: config.TURN_TIMEOUT_MS,
  };
  const clock = Date.now;
  const models = { plan: registry.plan, dispatch: createDispatch(registry, timeouts) };
  const turns: TurnDeps = {
    db,
    models,
    live: createLive(),
    cache: redis && sharedCache(redis),
    clock,
    allowance: { turns: config.MAX_TURNS_PER_USER, tokensADay: config.DAILY_TOKENS_PER_USER },
    systemPrompt: config.SYSTEM_PROMPT ?? null,
    log,
  };
  let phase: ReturnType<Services["phase"]> = "starting";
  const watch = createWatch({ ...turns, bus });
  const services = { db, redis, bus, watch, turns, clock, log, models: registry.list, version, phase: () => phase };
  const app = createApp(services, { ...config, buckets: bucketsFor(config, redis) });
  const stopUpkeep = await startUpkeep(turns);
  bus.listen((note, from) => {
    if (from === "elsewhere" && turns.live.lines.has(note.conversationId)) heedAtOnce(turns);
  });
  return {
    app,
    models: registry.list(),
    ready() {
      phase = "ready";
    },
    async stop(closed) {
      phase = "draining";
      await drainTurns(turns.live, config.DRAIN_TIMEOUT_S * 1000);
      stopUpkeep();
      watch.stop();
      await Promise.race([closed, sleep(LEAVING_MS)]); // a client that never ends its request ends here
      await transport.close();
      await bus.close();
      await redis?.close();
      await db.close();
    },
  };
}

/** Another instance has changed a conversation whose turns run here: it may have cancelled them. */
const heedAtOnce = (turns: TurnDeps) =>
  heedCancellations(turns).catch((error) => turns.log.error({ err: error }, "cancellations could not be looked for"));

function bucketsFor({ RATE_LIMIT: rate }: Config, redis: Redis | null): Buckets | null {
  if (rate === null) return null;
  return redis ? sharedBuckets(rate, redis) : localBuckets(rate);
}
