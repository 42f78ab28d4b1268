import { onTestFinished } from "vitest";
import { sharedCache } from "../../src/bus/cache.ts";
import { openRedis, type Redis } from "../../src/bus/redis.ts";
import type { Cache } from "../../src/core/cache.ts";
import type { LiveTurn } from "../../src/core/live.ts";
import { readWindow, type Window } from "../../src/core/window.ts";
import type { Db } from "../../src/db/db.ts";
import { type Instance, startInstance } from "./core-instance.ts";
import { type TestModels, WINDOW } from "./core-models.ts";
import { REDIS_MAY_TAKE_MS, type RedisServer, untilIsThere } from "./redis.ts";

/** An instance's own connection to Redis. */
export async function openCache({ url }: RedisServer): Promise<Cache & { redis: Redis }> {
  const redis = await openRedis(url, { info() {}, warn() {} }, REDIS_MAY_TAKE_MS);
  await untilIsThere(redis);
  return { ...sharedCache(redis), redis };
}

export type CachingInstance = Instance & {
  /** How often it has read the database since this was asked the last time. */
  readsSince(): number;
};

/** A process of its own with a cache, whose reads are counted. */
export function startCaching(db: Db, cache: Cache | null, models: TestModels): CachingInstance {
  let reads = 0;
  const counted: Db = {
    ...db,
    all: (...read) => {
      reads++;
      return db.all(...read);
    },
  };
  const readsSince = () => {
    const since = reads;
    reads = 0;
    return since;
  };
  return { ...startInstance(counted, models), cache, readsSince };
}

type At = { conversationId: string; rev: number; window?: number };

/** What the next turn of a conversation that stands at `rev` would be shown. */
export function windowAt(
  deps: Parameters<typeof readWindow>[0],
  { conversationId, rev, window = WINDOW }: At,
): Promise<Window> {
  const plan: LiveTurn["plan"] = { model: "balanced", targets: [], window };
  return readWindow(deps, { conversationId, before: rev + 1, basis: { rev, said: [] }, plan });
}

/** Closes a connection once the test is over. */
export function closeAfterTest(cache: { redis: Redis }): void {
  onTestFinished(() => cache.redis.close());
}
