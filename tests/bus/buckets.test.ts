import { array, assert, constantFrom, integer, property, record } from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Buckets, localBuckets, type Rate, sharedBuckets, type Taken } from "../../src/bus/buckets.ts";
import { openRedis, type Redis } from "../../src/bus/redis.ts";
import { describeRedis, REDIS_MAY_TAKE_MS, type RedisServer, startRedis, untilIsThere } from "../support/redis.ts";

const log = { info() {}, warn() {} };

let keys = 0;
const newKey = () => `user:${++keys}`;

async function take(buckets: Buckets, key: string, times: number): Promise<Taken[]> {
  const taken: Taken[] = [];
  for (let i = 0; i < times; i++) taken.push(await buckets.take(key));
  return taken;
}

const allowedOf = (taken: Taken[]) => taken.filter(({ allowed }) => allowed).length;

type Made = { buckets: Buckets; pass(ms: number): Promise<void> };
type Kind = { make(rate: Rate): Made; close?(): Promise<void> };

/** On a clock that moves when the test says so. */
async function local(): Promise<Kind> {
  return {
    make(rate) {
      let now = 1_000;
      const pass = async (ms: number) => {
        now += ms;
      };
      return { buckets: localBuckets(rate, () => now), pass };
    },
  };
}

/** Makes all that is kept so many milliseconds older. */
const AGE = `
  for _, key in ipairs(redis.call('KEYS', '*')) do
    redis.call('SET', key, string.format('%.3f', redis.call('GET', key) - ARGV[1]), 'KEEPTTL')
  end`;

/** On Redis' own clock; what is kept there grows older when the test says so. */
async function shared(): Promise<Kind> {
  const server = await startRedis();
  const redis = await openRedis(server.url, log, REDIS_MAY_TAKE_MS);
  await untilIsThere(redis);
  return {
    make: (rate) => ({
      buckets: sharedBuckets(rate, redis),
      pass: async (ms) => void (await redis.ask((client) => client.eval(AGE, { keys: [], arguments: [String(ms)] }))),
    }),
    async close() {
      await redis.close();
      await server.kill();
    },
  };
}

/** Real time goes on while a test asks: what it says may be off by so much, in milliseconds. */
const SLACK = 200_000;
/** Slow enough that no request comes back while a test runs. */
const SLOW: Rate = { count: 5, windowMs: 5_000_000 };

const contract = (open: () => Promise<Kind>) => () => {
  let kinds: Kind;
  beforeAll(async () => {
    kinds = await open();
  });
  afterAll(() => kinds?.close?.());

  it("gives all of a full bucket at once, and then no more", async () => {
    const { buckets } = kinds.make(SLOW);
    const taken = await take(buckets, newKey(), 7);
    expect(taken.map(({ allowed }) => allowed)).toEqual([true, true, true, true, true, false, false]);
    expect(taken.map(({ remaining }) => remaining)).toEqual([4, 3, 2, 1, 0, 0, 0]);
  });

  it("says how long it takes until the next one, and until it is full", async () => {
    const { buckets } = kinds.make(SLOW);
    const taken = await take(buckets, newKey(), 6);
    for (const [i, { waitMs, fullMs }] of taken.entries()) {
      const used = Math.min(i + 1, 5) * 1_000_000;
      expect(fullMs).toBeLessThanOrEqual(used + 1);
      expect(fullMs).toBeGreaterThan(used - SLACK);
      if (i < 4) expect(waitMs).toBe(0);
      else expect(waitMs).toBeGreaterThan(1_000_000 - SLACK);
      expect(waitMs).toBeLessThanOrEqual(1_000_001);
    }
  });

  it("fills evenly: one after its part of the window, not all at its end", async () => {
    const { buckets, pass } = kinds.make(SLOW);
    const key = newKey();
    expect(allowedOf(await take(buckets, key, 6))).toBe(5);
    await pass(SLOW.windowMs / 5 + 1);
    expect(allowedOf(await take(buckets, key, 2))).toBe(1);
  });

  it("is full again after a whole window, and holds no more than that", async () => {
    const { buckets, pass } = kinds.make(SLOW);
    const key = newKey();
    await take(buckets, key, 5);
    await pass(2 * SLOW.windowMs);
    expect(await buckets.take(key)).toMatchObject({ allowed: true, remaining: 4 });
  });

  it("has a bucket for each key", async () => {
    const { buckets } = kinds.make(SLOW);
    await take(buckets, newKey(), 5);
    expect(await buckets.take(newKey())).toMatchObject({ allowed: true, remaining: 4 });
  });

  it("takes any text for a key", async () => {
    const { buckets } = kinds.make(SLOW);
    for (const key of ["", "a b\r\nFLUSHALL\r\n", "ü👋", "*", "{x}"]) {
      expect(await take(buckets, key, 2)).toMatchObject([{ remaining: 4 }, { remaining: 3 }]);
    }
  });

  it("gives nothing for being asked while it is empty, and takes nothing either", async () => {
    const { buckets, pass } = kinds.make(SLOW);
    const key = newKey();
    await take(buckets, key, 20);
    await pass(SLOW.windowMs / 5 + 1);
    expect(allowedOf(await take(buckets, key, 1))).toBe(1);
  });

  it("counts one that does not divide the window", async () => {
    const { buckets } = kinds.make({ count: 7, windowMs: 6_000_000 });
    expect(allowedOf(await take(buckets, newKey(), 9))).toBe(7);
  });
};

describe("a bucket of this process", contract(local));
describeRedis("a bucket on Redis", contract(shared));

describe("buckets of this process", () => {
  const rates = constantFrom<Rate>(
    { count: 7, windowMs: 1_000 },
    { count: 1, windowMs: 1_000 },
    { count: 600, windowMs: 60_000 },
    { count: 13, windowMs: 3_600_000 },
  );
  // Times as parts of an interval, so that every rate is walked along its edge.
  const walk = array(record({ pass: integer({ min: 0, max: 3_000 }), times: integer({ min: 1, max: 4 }) }), {
    minLength: 50,
    maxLength: 400,
  });

  it("never give more than allowed, nor less, however they are asked", () => {
    assert(
      property(rates, walk, (rate, steps) => {
        const interval = rate.windowMs / rate.count;
        let now = 123_456.789;
        const buckets = localBuckets(rate, () => now);
        // The same in exact numbers: thousandths of a request, filled by thousandths of an interval.
        let level = rate.count * 1_000;
        for (const { pass, times } of steps) {
          now += (pass * interval) / 1_000;
          level = Math.min(rate.count * 1_000, level + pass);
          for (let i = 0; i < times; i++) {
            const taken = buckets.take("key") as Taken;
            expect(taken.allowed).toBe(level >= 1_000);
            if (level >= 1_000) level -= 1_000;
            expect(taken.remaining).toBe(Math.floor(level / 1_000));
            expect(taken.waitMs).toBeCloseTo((Math.max(0, 1_000 - level) * interval) / 1_000, 1);
          }
        }
      }),
      { numRuns: 60, seed: 7 },
    );
  });

  it("give 7 a second for a long time and not one more", () => {
    let now = 5_000_000;
    const buckets = localBuckets({ count: 7, windowMs: 1_000 }, () => now);
    let given = 0;
    const from = now;
    for (let i = 0; i < 200_000; i++) {
      now += 11.3;
      if ((buckets.take("key") as Taken).allowed) given++;
    }
    const most = 7 + ((now - from) / 1_000) * 7;
    expect(given).toBeLessThanOrEqual(most);
    expect(given).toBeGreaterThan(most - 9);
  });

  it("remember 100,000 at most, and forget those first that were used longest ago", () => {
    let now = 0;
    const buckets = localBuckets({ count: 2, windowMs: 1e9 }, () => now);
    const remaining = (key: string) => (buckets.take(key) as Taken).remaining;
    expect([remaining("old"), remaining("kept")]).toEqual([1, 1]);
    for (let i = 0; i < 99_990; i++) remaining(`other-${i}`);
    expect(remaining("kept")).toBe(0);
    for (let i = 0; i < 50; i++) remaining(`more-${++now}`);
    expect(remaining("old")).toBe(1);
    expect(remaining("kept")).toBe(0);
  });

  it("of users are not forgotten for the addresses of strangers", () => {
    const buckets = localBuckets({ count: 1, windowMs: 1e9 }, () => 0);
    buckets.take("user:alice");
    for (let i = 0; i < 100_010; i++) buckets.take(`ip:other-${i}`);
    expect(buckets.take("user:alice")).toMatchObject({ allowed: false });
  });

  it("remember the one that is asked for, however full they are", () => {
    const buckets = localBuckets({ count: 1, windowMs: 1e9 }, () => 0);
    buckets.take("old");
    for (let i = 0; i < 99_999; i++) buckets.take(`other-${i}`);
    expect(buckets.take("old")).toMatchObject({ allowed: false });
  });
});

describeRedis("buckets on Redis", () => {
  let server: RedisServer;
  let handles: [Redis, Redis];
  beforeAll(async () => {
    server = await startRedis();
    const handle = () => openRedis(server.url, log, REDIS_MAY_TAKE_MS);
    handles = [await handle(), await handle()];
    await Promise.all(handles.map(untilIsThere));
  });
  afterAll(async () => {
    await Promise.all((handles ?? []).map((redis) => redis.close()));
    await server?.kill();
  });
  const both = (rate: Rate): [Buckets, Buckets] => [sharedBuckets(rate, handles[0]), sharedBuckets(rate, handles[1])];

  it("are the same ones for all who are on it, also at once", async () => {
    const rate = { count: 20, windowMs: 1e6 };
    const [one, other] = both(rate);
    const key = newKey();
    const taken = await Promise.all(Array.from({ length: 30 }, (_, i) => (i % 2 === 0 ? one : other).take(key)));
    expect(allowedOf(taken)).toBe(20);
  });

  it("are others at another rate", async () => {
    const key = newKey();
    await take(both({ count: 2, windowMs: 1e9 })[0], key, 3);
    expect(await both({ count: 2, windowMs: 1_000 })[0].take(key)).toMatchObject({ allowed: true });
  });

  it("are not kept there once they are full", async () => {
    const key = newKey();
    await both({ count: 1, windowMs: 100 })[0].take(key);
    expect(await server.ask("DBSIZE")).not.toMatch(/^:0\r/);
    await expect.poll(() => server.ask(`KEYS *${key}`)).toMatch(/^\*0\r/);
  });

  it("go on in each process while Redis is away, and are shared again when it is back", async () => {
    const [one, other] = both({ count: 3, windowMs: 1e9 });
    const key = newKey();
    expect(allowedOf(await take(one, key, 3))).toBe(3);
    expect(allowedOf(await take(other, key, 1))).toBe(0);
    const running = take(one, newKey(), 200); // in the middle of it
    await server.kill();
    expect(await running).toHaveLength(200);
    expect(allowedOf(await take(one, key, 4))).toBe(3);
    expect(allowedOf(await take(other, key, 4))).toBe(3);
    await server.start();
    await Promise.all(handles.map(untilIsThere));
    expect(allowedOf(await take(one, key, 2))).toBe(2);
    expect(allowedOf(await take(other, key, 2))).toBe(1);
  });
});
