import { afterEach, beforeEach, expect, it, onTestFinished, vi } from "vitest";
import { inspectRedis, openRedis, type Redis } from "../../src/bus/redis.ts";
import { freePort } from "../support/global.ts";
import { PATIENT } from "../support/http-expect.ts";
import {
  describeRedis,
  ping,
  REDIS_MAY_TAKE_MS,
  type RedisServer,
  startRedis,
  untilIsThere,
} from "../support/redis.ts";

const PASSWORD = "pa55-w0rd";

type Said = { message: string; text: string };

/** A handle that is closed when the test is over, and what it logged. */
async function opened(
  url: string,
  patienceMs = REDIS_MAY_TAKE_MS,
): Promise<{ redis: Redis; said: Said[]; messages(): string[] }> {
  const said: Said[] = [];
  const note = (fields: object, message: string) => void said.push({ message, text: String(Object.values(fields)[0]) });
  const redis = await openRedis(url, { info: note, warn: note }, patienceMs);
  onTestFinished(() => redis.close());
  return { redis, said, messages: () => said.map(({ message }) => message) };
}

describeRedis("a Redis", () => {
  let server: RedisServer;
  beforeEach(async () => {
    server = await startRedis();
  });
  afterEach(() => server.kill());

  it("is gone on without while it is away; it comes back by itself, and each change is said once", async () => {
    const { redis, messages } = await opened(server.url);
    expect(await ping(redis)).toBeUndefined(); // not connected yet: nobody waits for that
    await untilIsThere(redis);
    expect(await ping(redis)).toBe("PONG");
    await server.kill();
    for (let i = 0; i < 20; i++) expect(await ping(redis)).toBeUndefined();
    await expect.poll(messages, PATIENT).toEqual(["Redis is there", "Redis is away; going on without it"]);
    await server.start();
    await untilIsThere(redis);
    expect(messages()).toEqual(["Redis is there", "Redis is away; going on without it", "Redis is there"]);
  });

  it("may be away from the start", async () => {
    await server.kill();
    const { redis, messages } = await opened(server.url);
    await expect.poll(messages, PATIENT).toEqual(["Redis is away; going on without it"]);
    expect(await ping(redis)).toBeUndefined();
    await server.start();
    await untilIsThere(redis);
  });

  it("that hangs is waited for once a second, by one of all who ask; that is said, and it comes back", async () => {
    const { redis, messages } = await opened(server.url, 500);
    await untilIsThere(redis);
    let now = performance.now();
    const clock = vi.spyOn(performance, "now").mockImplementation(() => now);
    onTestFinished(() => clock.mockRestore());
    server.freeze();
    let asked = 0;
    const ask = () =>
      redis.ask((client) => {
        asked++;
        return client.ping();
      });
    const tenAsk = async () => {
      const answers = await Promise.all(Array.from({ length: 10 }, ask));
      expect(answers).toEqual(answers.map(() => undefined));
    };
    expect(await ask()).toBeUndefined();
    now += 999;
    await tenAsk();
    expect(asked).toBe(1);
    now += 1;
    await tenAsk();
    expect(asked).toBe(2);
    now += 1_000;
    clock.mockRestore();
    expect(messages()).toEqual(["Redis is there", "Redis is away; going on without it"]);
    server.thaw();
    await untilIsThere(redis);
    expect(await ping(redis)).toBe("PONG");
    expect(messages().at(-1)).toBe("Redis is there");
  });

  it("that refuses a command is gone on without, which is said once, and asked the next all the same", async () => {
    const { redis, said } = await opened(server.url);
    await untilIsThere(redis);
    for (let i = 0; i < 3; i++) expect(await redis.ask((client) => client.eval("nonsense"))).toBeUndefined();
    expect(await ping(redis)).toBe("PONG");
    expect(said.map(({ message }) => message)).toEqual([
      "Redis is there",
      "Redis refuses a command; going on without it",
    ]);
  });

  it("is left without a connection and without a timer, wherever it stood", async () => {
    const { redis } = await opened(server.url);
    await untilIsThere(redis);
    expect(await server.ask("CLIENT LIST")).toMatch(/\n.*cmd=ping/);
    await redis.close();
    expect(await ping(redis)).toBeUndefined();
    await expect.poll(() => server.ask("CLIENT LIST"), PATIENT).not.toContain("cmd=ping");
    await redis.close(); // twice is no fault

    await server.kill();
    const { redis: waiting, messages } = await opened(server.url);
    await expect.poll(messages, PATIENT).toHaveLength(1);
    await waiting.close();
    const { redis: other } = await opened(server.url);
    for (let times = 0; times < 2; times++) {
      await server.start();
      await untilIsThere(other); // by now the one that was closed would be there, too
      expect((await server.ask("INFO clients")).match(/connected_clients:(\d+)/)?.[1]).toBe("2");
      await server.kill();
    }
  });

  it("is used with the password of its address, and away with a wrong one, which is not shown", async () => {
    await server.ask(`CONFIG SET requirepass ${PASSWORD}`);
    const right = await opened(server.url.replace("//", `//:${PASSWORD}@`));
    await untilIsThere(right.redis);
    const wrong = await opened(server.url.replace("//", `//:not-${PASSWORD}@`));
    await expect.poll(wrong.messages, PATIENT).toEqual(["Redis is away; going on without it"]);
    expect(wrong.said[0]?.text).toMatch(/WRONGPASS/);
    expect(wrong.said[0]?.text).not.toContain(PASSWORD);
  });

  it("is looked at: it answers, is silent, or is not there", async () => {
    await inspectRedis(server.url, 5_000);
    server.freeze();
    await expect(inspectRedis(server.url, 200)).rejects.toThrow("does not answer");
    await expect(inspectRedis(`redis://127.0.0.1:${await freePort()}`, 5_000)).rejects.toThrow("ECONNREFUSED");
    await expect.poll(() => process.getActiveResourcesInfo().filter((name) => name === "TCPSocketWrap")).toEqual([]);
  });
});
