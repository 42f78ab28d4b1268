import { spawnSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { it, type TestContext } from "vitest";
import { freshPostgres } from "../support/databases.ts";
import { PATIENT } from "../support/http-expect.ts";
import { providerForTest, serviceForTest } from "../support/http-worlds.ts";
import type { Provider } from "../support/provider.ts";
import { type RedisServer, startRedis } from "../support/redis.ts";
import type { Service } from "../support/service.ts";
import { readSession, type SessionReader } from "../support/session-reader.ts";
import { createGate } from "../support/stream-gate.ts";

const isRedisHere = spawnSync("redis-server", ["--version"]).status === 0;
/** For `expect.poll`: a lease, the next sweep, and some for a busy machine. */
const SWEPT = { timeout: 90_000, interval: 50 } as const;

type World = { provider: Provider; one: Service; other: Service };

async function twoInstances(test: TestContext, redis?: RedisServer): Promise<World> {
  const provider = await providerForTest(test);
  const url = await freshPostgres();
  const env = { ...(redis && { REDIS_URL: redis.url }) };
  const [one, other] = await Promise.all([
    serviceForTest(test, { runtime: "node", url, provider, env }),
    serviceForTest(test, { runtime: "bun", url, provider, env }),
  ]);
  return { provider, one, other };
}

// A connection that is kept may be closed by the service as this process, where it stood still for seconds, takes it up.
const ONCE = { connection: "close" };
const newSession = async (at: Service): Promise<string> => (await at.call("POST", "/api/v1/sessions")).json.id;
const say = (at: Service, id: string, content: string, more: object = {}) =>
  at.call("POST", `/api/v1/sessions/${id}/messages`, { content, sender_type: "user", sender_id: "ada", ...more }, ONCE);
const get = async (at: Service, path: string) => (await at.call("GET", path, undefined, ONCE)).json;
const read = async (test: TestContext, at: Service, id: string, after = 0): Promise<SessionReader> => {
  const reader = await readSession(at, id, after);
  test.onTestFinished(() => reader.reading.drop());
  return reader;
};

const WRITERS = 60;
const SESSIONS = 6;
const TIMES = 5;

/** Sixty who write at once, each now here and now there; some ask the assistant. Gives what was answered. */
async function crowd({ one, other }: World, ids: string[], between: () => Promise<unknown>) {
  const middle = between();
  const writers = Array.from({ length: WRITERS }, async (_, writer) => {
    const id = ids[writer % ids.length] ?? "";
    const answers = [];
    for (let i = 0; i < TIMES; i++) {
      const at = (writer + i) % 2 === 0 ? one : other;
      const content = `${writer}/${i} ${randomUUID()}`;
      const reply = writer < SESSIONS; // one of each session's writers
      answers.push({ id, content, called: await say(at, id, content, reply ? { reply } : {}) });
    }
    return answers;
  });
  const all = (await Promise.all(writers)).flat();
  await middle;
  return all;
}

async function expectWhole(test: TestContext, at: Service, readers: SessionReader[]): Promise<void> {
  const { expect } = test;
  const settled = async () => {
    for (const reader of readers) {
      const id = reader.session?.id;
      const { unread: _, messages: __, ...session } = await get(at, `/api/v1/sessions/${id}`);
      const messages = await get(at, `/api/v1/sessions/${id}/messages?limit=500`);
      if (messages.some(({ status }: { status: string }) => status === "in_progress")) return "an answer is being made";
      expect(reader.lastId).toBeLessThanOrEqual(session.rev);
      if (reader.lastId < session.rev) return `told up to ${reader.lastId} of ${session.rev}`;
      expect(reader.session).toEqual(session);
      expect(reader.shown()).toEqual(messages);
    }
    return "whole";
  };
  await expect.poll(settled, SWEPT).toBe("whole");
  expect(readers.flatMap(({ wrongs }) => wrongs)).toEqual([]);
}

const ways = [
  { way: "by way of Postgres alone", withRedis: false },
  { way: "with a Redis that is killed and comes back in the midst of it", withRedis: true },
];

it.concurrent.for(ways)(
  "sixty writers at two instances at once lose nothing and double nothing, $way",
  async ({ withRedis }, test) => {
    const { expect, skip } = test;
    skip(withRedis && !isRedisHere, "there is no redis-server");
    const redis = withRedis ? await startRedis() : undefined;
    test.onTestFinished(() => redis?.kill());
    const world = await twoInstances(test, redis);
    const { one, other } = world;
    const ids = await Promise.all(Array.from({ length: SESSIONS }, () => newSession(one)));
    const readers = await Promise.all([one, other].flatMap((at) => ids.map((id) => read(test, at, id))));
    const said = await crowd(world, ids, async () => {
      await redis?.kill();
      await redis?.start();
    });
    expect(said.filter(({ called }) => called.status !== 201).map(({ called }) => called.text)).toEqual([]);
    readers.push(...(await Promise.all([one, other].flatMap((at) => ids.map((id) => read(test, at, id))))));
    await expectWhole(test, other, readers);
    for (const id of ids) {
      const reader = readers.find(({ session }) => session.id === id);
      const people = reader?.shown().filter(({ sender_type }) => sender_type === "user") ?? [];
      const own = said.filter((one) => one.id === id).map(({ content }) => content);
      expect(people.map(({ content }) => content).sort()).toEqual(own.sort());
    }

    const [id = ""] = ids;
    const [here, there] = [await read(test, one, id), await read(test, other, id)];
    const type = () => one.call("POST", `/api/v1/sessions/${id}/typing`, { sender_id: "ada", typing: true }, ONCE);
    if (withRedis) {
      const crosses = async () => {
        await type(); // what is told while Redis is away is lost
        return there.typing.length;
      };
      await expect.poll(crosses, PATIENT).toBeGreaterThan(0);
    } else {
      await type();
      await say(one, id, "after it");
      await expect.poll(() => there.shown().at(-1)?.content, PATIENT).toBe("after it");
      expect(there.typing).toEqual([]);
    }
    expect(here.typing.length).toBeGreaterThan(0);
  },
);

it.concurrent("what runs at one instance is watched, cancelled and interrupted by way of the other; when it dies its turns are ended there, and what waits is answered", async (test) => {
  const { expect } = test;
  const { provider, one, other } = await twoInstances(test);
  const gates = Array.from({ length: 3 }, () => createGate(["Half an ", "answer"], { afterwards: "stall" }));
  provider.behave(({ body }) => {
    const gate = /^held (\d)/.exec(body.messages.at(-1)?.content ?? "")?.[1];
    return gate === undefined ? {} : (gates[Number(gate)]?.script ?? {});
  });
  const ids = await Promise.all([0, 1, 2].map(() => newSession(one)));
  const [toCancel = "", toInterrupt = "", toDie = ""] = ids;
  const watching = await Promise.all(ids.map((id) => read(test, other, id)));
  const turns = await Promise.all(
    ids.map(async (id, i) => (await say(one, id, `held ${i}`, { reply: true })).json.turn.id as string),
  );
  for (const gate of gates) gate.next();
  for (const reader of watching) {
    await expect.poll(() => [...reader.drafts.values()].map(({ text }) => text), PATIENT).toEqual(["Half an "]);
  }

  const cancelled = await other.call("POST", `/api/v1/turns/${turns[0]}/cancel`);
  expect(cancelled.json).toMatchObject({ status: "incomplete", error: { code: "turn_cancelled" } });
  await expect.poll(provider.left, PATIENT).toBe(1);
  const sent = await other.call("POST", "/chat", { chat_id: toInterrupt, message: "never mind", if_busy: "interrupt" });
  expect(sent.json.reply).toContain("never mind");
  await expect.poll(provider.left, PATIENT).toBe(2);
  await expectWhole(test, one, watching.slice(0, 2));

  // In line behind what runs at the one that dies: one of its own, and one of the other's.
  const behind = [await say(one, toDie, "behind, there", { reply: true })];
  behind.push(await say(other, toDie, "behind, here", { reply: true }));
  expect(behind.map(({ status }) => status)).toEqual([201, 201]);
  await one.end("SIGKILL");
  const [, , dying] = watching;
  const answers = () => dying?.shown().filter(({ sender_type }) => sender_type === "assistant") ?? [];
  await expect
    .poll(() => answers().map(({ status }) => status), SWEPT)
    .toEqual(["incomplete", "completed", "completed"]);
  expect(answers().map(({ content }) => content)).toEqual([
    "Half an ",
    expect.stringContaining("behind, there"),
    expect.stringContaining("behind, here"),
  ]);
  if (dying) await expectWhole(test, other, [dying, await read(test, other, toDie)]);
  expect(toCancel).not.toBe(toDie);
});
