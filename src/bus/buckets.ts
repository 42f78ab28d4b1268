import type { Redis } from "./redis.ts";

/** So many requests in a window of milliseconds; all of them may come at once. */
export type Rate = { count: number; windowMs: number };

/** A request taken from a bucket. */
export type Taken = {
  allowed: boolean;
  /** Requests that may follow at once. */
  remaining: number;
  /** Milliseconds until the next one is allowed. */
  waitMs: number;
  /** Milliseconds until all are allowed again. */
  fullMs: number;
};

/** Token buckets, one a key: each holds `count` and fills evenly, a whole one in a window. A key is its kind, a colon and a name: `user:alice`, `ip:192.0.2.1`. */
export type Buckets = { take(key: string): Taken | Promise<Taken> };

/**
 * Buckets of one kind that are remembered at most: past that the one that was used longest ago is full again. Each kind has
 * its own places, so that strangers with many addresses give no user a full bucket.
 */
const MOST_KEPT = 100_000;

/** Buckets of this process. `now` is in milliseconds, and never goes back. */
export function localBuckets(rate: Rate, now: () => number = () => performance.now()): Buckets {
  // A bucket is the moment when it is full again (the generic cell rate algorithm): one number, and none once it is full.
  const kinds = new Map<string, Map<string, number>>();
  const interval = rate.windowMs / rate.count;
  return {
    take(key) {
      const at = now();
      const fullAt = kindOf(kinds, key);
      const before = Math.max(fullAt.get(key) ?? at, at);
      forgetFull(fullAt, at);
      const after = before + interval;
      const allowed = isWithin(after - at, rate);
      if (allowed) {
        fullAt.delete(key); // to the end of the map: its order is that of use
        fullAt.set(key, after);
      }
      return takenFrom(rate, allowed, (allowed ? after : before) - at);
    },
  };
}

function kindOf(kinds: Map<string, Map<string, number>>, key: string): Map<string, number> {
  const kind = key.slice(0, Math.max(0, key.indexOf(":")));
  const known = kinds.get(kind) ?? new Map<string, number>();
  kinds.set(kind, known);
  return known;
}

/** Those that were used longest ago come first. */
function forgetFull(fullAt: Map<string, number>, at: number): void {
  for (const [key, full] of fullAt) {
    if (full > at && fullAt.size < MOST_KEPT) return;
    fullAt.delete(key);
  }
}

/** Sums of fractions may be off by less than this, in milliseconds. */
const ROUNDING_MS = 0.01;

const isWithin = (fullMs: number, { windowMs }: Rate) => fullMs <= windowMs + ROUNDING_MS;

function takenFrom({ count, windowMs }: Rate, allowed: boolean, fullMs: number): Taken {
  const interval = windowMs / count;
  const remaining = Math.max(0, Math.floor((windowMs - fullMs + ROUNDING_MS) / interval));
  return { allowed, remaining, waitMs: Math.max(0, fullMs + interval - windowMs), fullMs };
}

// The same on Redis, by its clock. Numbers travel as text: Lua's own would be cut to whole ones.
const TAKE = `
  local time = redis.call('TIME')
  local now = time[1] * 1000 + time[2] / 1000
  local interval, window = tonumber(ARGV[1]), tonumber(ARGV[2])
  local before = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now)
  local after = before + interval
  if after - now > window then return { 0, string.format('%.3f', before - now) } end
  redis.call('SET', KEYS[1], string.format('%.3f', after), 'PX', math.ceil(after - now))
  return { 1, string.format('%.3f', after - now) }`;

/** Buckets that all instances on one Redis share; while it is away each instance has its own. */
export function sharedBuckets(rate: Rate, redis: Redis): Buckets {
  const local = localBuckets(rate);
  const limits = [String(rate.windowMs / rate.count), String(rate.windowMs + ROUNDING_MS)];
  const prefix = `parley:rate:${rate.count}/${rate.windowMs}`; // what was taken at another rate says nothing of this one
  return {
    async take(key) {
      const reply = await redis.ask((client) => client.eval(TAKE, { keys: [`${prefix}:${key}`], arguments: limits }));
      if (!Array.isArray(reply)) return local.take(key);
      return takenFrom(rate, Number(reply[0]) === 1, Number(reply[1]));
    },
  };
}
