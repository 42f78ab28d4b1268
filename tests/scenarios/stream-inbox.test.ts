import { randomUUID } from "node:crypto";
import { it } from "vitest";
import { databases, open } from "../support/databases.ts";
import { PATIENT } from "../support/http-expect.ts";
import { providerForTest, serviceForTest, worlds } from "../support/http-worlds.ts";
import { startStream } from "../support/stream.ts";
import { APP, messageEvent, newChannel, signed } from "../support/stream-inbox.ts";

const MANY = 60;

it.concurrent.for(databases)(
  "on $database a service that is killed after it has answered Stream's webhooks, and before their work, loses none and doubles none",
  async ({ fresh }, test) => {
    const { expect, onTestFinished } = test;
    const [url, provider] = [await fresh(), await providerForTest(test)];
    const app = { STREAM_API_KEY: APP.apiKey, STREAM_SECRET: APP.secret, STREAM_BASE_URL: "http://127.0.0.1:9" };
    const start = () => serviceForTest(test, { runtime: "node", url, provider, env: app });
    const first = await start();
    const talk = newChannel();
    const sent = Array.from({ length: MANY }, (_, i) => {
      const user = i === 0 ? talk.user : "ann"; // one question, and what is only stored
      return signed(messageEvent("new", { ...talk, user }, { id: randomUUID(), text: `${i}` }));
    });
    const post = async ({ bytes, headers }: (typeof sent)[number]) =>
      (await fetch(`${first.url}/webhooks/stream`, { method: "POST", headers, body: bytes.slice() })).status;
    const [question, ...others] = sent;
    if (!question) throw new Error("there is no question");
    expect(await post(question)).toBe(200);
    expect(await Promise.all(others.map(post))).toEqual(Array(MANY - 1).fill(200));
    await first.end("SIGKILL");

    const db = await open(url);
    onTestFinished(() => db.close());
    const { streamEvents: e, messages: m, turns: t } = db.tables;
    const waiting = async () => (await db.select().from(e)).filter(({ doneAt }) => doneAt === null).length;
    expect(await waiting()).toBeGreaterThan(0);
    await db.update(e).set({ leaseUntil: 1 }); // the time that its leases take to run out
    await start();
    await expect.poll(waiting, PATIENT).toBe(0);
    const said = (await db.select().from(m)).filter(({ role }) => role === "user").map(({ content }) => content);
    expect(said.toSorted()).toEqual(sent.map((_, i) => `${i}`).toSorted());
    expect(await db.select().from(t)).toHaveLength(1);
  },
);

it.concurrent.for(worlds.filter(({ runtime, database }) => runtime === "bun" || database === "SQLite"))(
  "$runtime with $database takes what a client of Stream's does, packed and told twice",
  async ({ runtime, fresh }, test) => {
    const { expect, onTestFinished } = test;
    const [url, provider, stream] = [await fresh(), await providerForTest(test), await startStream()];
    onTestFinished(() => stream.close());
    const service = await serviceForTest(test, { runtime, url, provider, env: stream.env });
    stream.hooks.to(`${service.url}/webhooks/stream`, { gzip: true, times: 2 });
    const [channel, alice] = [`support-${randomUUID()}`, stream.as("alice")];
    alice.open(channel);
    const id = alice.send(channel, "Hello?");
    const typo = alice.send(channel, "Is anybody their?");
    alice.edit(typo, "Is anybody there?");
    alice.react(id, "love");
    alice.react(id, "wow");
    alice.unreact(id, "wow");
    const oops = alice.send(channel, "Oops");
    const db = await open(url);
    onTestFinished(() => db.close());
    const { streamEvents: e, messages: m, messageExtensions: x, turns: t } = db.tables;
    const answered = async () => (await db.select().from(t)).filter(({ status }) => status === "completed").length;
    await expect.poll(answered, PATIENT).toBe(3);
    alice.delete(oops);
    await stream.hooks.settled();
    expect(new Set(stream.hooks.sent.map(({ status }) => status))).toEqual(new Set([200]));

    await expect
      .poll(async () => (await db.select().from(e)).every(({ doneAt }) => doneAt !== null), PATIENT)
      .toBe(true);
    const told = await db.select().from(e); // and what the mirror has written
    expect(told.length).toBeGreaterThanOrEqual(8);
    expect(told.filter(({ error }) => error !== null)).toEqual([]);
    const said = (await db.select().from(m).orderBy(m.seq)).filter(({ role }) => role === "user");
    expect(said.map(({ content, deletedAt }) => [content, deletedAt !== null])).toEqual([
      ["Hello?", false],
      ["Is anybody there?", false],
      ["Oops", true],
    ]);
    const reactions = (await db.select().from(x)).filter(({ type }) => type === "reaction");
    expect(reactions).toMatchObject([{ messageId: id, authorId: "alice", data: { emoji: "love" } }]);
  },
);
