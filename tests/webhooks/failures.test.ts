import { eq } from "drizzle-orm";
import { beforeAll, describe, expect, it } from "vitest";
import { deleteConversation } from "../../src/core/conversation-deletion.ts";
import { renameConversation } from "../../src/core/conversations.ts";
import { NOW } from "../support/core-instance.ts";
import { databases } from "../support/databases.ts";
import { type Received, type Reply, receiverForTest, startReceiver } from "../support/receiver.ts";
import { allTold, expectChain, newTalk, say, startTeller, toldUpTo } from "../support/webhook-scene.ts";

const PATIENT = { interval: 5, timeout: 60_000 };

const refusals: { what: string; reply: Reply; reason: string | RegExp }[] = [
  { what: "answers 500", reply: { status: 500 }, reason: "status 500" },
  { what: "answers 404", reply: { status: 404 }, reason: "status 404" },
  {
    what: "answers 429 with a date",
    reply: { status: 429, headers: { "retry-after": "Thu, 01 Jan 2026 00:00:00 GMT" } },
    reason: "status 429",
  },
  { what: "answers 503 with nonsense", reply: { status: 503, headers: { "retry-after": "-7" } }, reason: "status 503" },
  { what: "sends it elsewhere", reply: { status: 307, headers: { location: "/elsewhere" } }, reason: "status 307" },
  { what: "resets the connection", reply: { how: "cut" }, reason: /^(UND_ERR_SOCKET|ECONNRESET)$/ },
  { what: "never answers", reply: { how: "hang" }, reason: "timeout" },
];

/** A receiver that refuses its first deliveries. */
const at = (times: number, reply: Reply) => {
  let seen = 0;
  return () => (++seen <= times ? reply : {});
};

describe.each(databases)("the webhook, with $database,", ({ fresh }) => {
  let shared: string;
  beforeAll(async () => {
    shared = await fresh();
  });

  it.each(refusals)("is told again, under the same id, by one that $what", async ({ reply, reason }) => {
    const receiver = await receiverForTest();
    receiver.behave(at(2, reply));
    const teller = await startTeller(shared, receiver, reply.how === "hang" ? { timeoutMs: 2_000 } : {});
    const talk = await newTalk(teller);
    await expect.poll(() => receiver.received.length, PATIENT).toBe(3);
    await allTold(teller.db);
    const [first, ...others] = receiver.of(talk.id);
    for (const again of others) {
      expect(again.text).toBe(first?.text);
      expect(again.path).toBe(first?.path);
      expect(again.headers["webhook-id"]).toBe(first?.headers["webhook-id"]);
    }
    const why = typeof reason === "string" ? reason : expect.stringMatching(reason);
    expect(teller.logged.map(({ fields }) => fields)).toMatchObject([
      { conversation_id: talk.id, reason: why, attempts: 1 },
      { conversation_id: talk.id, reason: why, attempts: 2 },
    ]);
  });

  it("is told the present state, and not every step to it, when it was away meanwhile", async () => {
    const gone = await startReceiver();
    await gone.close();
    const url = await fresh();
    const teller = await startTeller(url, gone);
    const talk = await newTalk(teller);
    for (const title of ["One", "Two", "Three"]) {
      await renameConversation(teller.db, talk.owner, { id: talk.id, title, now: NOW });
    }
    await say(teller, talk, "Are you there?");
    await expect.poll(() => teller.logged.length, PATIENT).toBeGreaterThan(3);
    expect(JSON.stringify(teller.logged)).not.toMatch(/there|127\.0\.0\.1|hooks/);
    const back = await startReceiver(Number(new URL(gone.url).port));
    const deliveries = await toldUpTo(back, talk.id, 4);
    await allTold(teller.db);
    await teller.stop();
    await back.close();
    expect(deliveries).toHaveLength(1);
    expect(deliveries[0]?.json.data).toMatchObject({
      after: -1,
      session: { title: "Three" },
      messages: [{ content: "Are you there?" }],
    });
  });

  it("that hangs over one conversation is told of the others all the same", async () => {
    const receiver = await receiverForTest();
    const teller = await startTeller(await fresh(), receiver);
    const stuck = await newTalk(teller);
    await toldUpTo(receiver, stuck.id, 0);
    receiver.behave(({ about }) => (about === stuck.id ? { how: "hang" } : {}));
    await say(teller, stuck, "Hold the line.");
    await expect.poll(receiver.open, PATIENT).toBe(1);
    for (let i = 0; i < 20; i++) {
      const talk = await newTalk(teller);
      await toldUpTo(receiver, talk.id, 0);
    }
    expect(receiver.of(stuck.id)).toHaveLength(2);
    expect(receiver.open()).toBe(1);
  });

  it("is told of a conversation by one post at a time, each up to where it is by then", async () => {
    const receiver = await receiverForTest();
    const teller = await startTeller(await fresh(), receiver);
    const gate = Promise.withResolvers<void>();
    receiver.behave(() => ({ after: gate.promise }));
    const talk = await newTalk(teller);
    await expect.poll(receiver.open, PATIENT).toBe(1);
    for (let i = 1; i <= 5; i++) await say(teller, talk, `Message ${i}`);
    expect(receiver.received).toHaveLength(1);
    gate.resolve();
    await toldUpTo(receiver, talk.id, 5);
    await allTold(teller.db);
    expectChain(receiver.of(talk.id));
    expect(receiver.received).toHaveLength(2);
  });

  it("that was told by a process which is gone meanwhile is told once its claim has run out", async () => {
    const receiver = await receiverForTest();
    const url = await fresh();
    const teller = await startTeller(url, receiver);
    const talk = await newTalk(teller);
    await toldUpTo(receiver, talk.id, 0);
    await allTold(teller.db);
    const { deliveries } = teller.db.tables;
    await teller.db.insert(deliveries).values({ id: talk.id, leaseUntil: Date.now() + 3_600_000 });
    await say(teller, talk, "Hello?");
    const other = await newTalk(teller); // later, and told nevertheless
    await toldUpTo(receiver, other.id, 0);
    expect(receiver.of(talk.id)).toHaveLength(1);
    await teller.db.update(deliveries).set({ leaseUntil: 1 }).where(eq(deliveries.id, talk.id));
    await toldUpTo(receiver, talk.id, 1);
    await allTold(teller.db);
  });

  it("that answers 410 is told nothing more, until the next start", async () => {
    const receiver = await receiverForTest();
    receiver.behave(() => ({ status: 410 }));
    const url = await fresh();
    const teller = await startTeller(url, receiver);
    const talk = await newTalk(teller);
    await expect.poll(() => teller.logged.length, PATIENT).toBe(1);
    await say(teller, talk, "Hello?");
    await newTalk(teller);
    await teller.stop();
    expect(receiver.received).toHaveLength(1);
    expect(teller.logged).toEqual([{ fields: {}, message: expect.stringContaining("410") }]);
    receiver.behave(() => ({}));
    const next = await startTeller(url, receiver);
    await toldUpTo(receiver, talk.id, 1);
    await allTold(next.db);
  });

  it("whose answer never ends is not listened to", async () => {
    const receiver = await receiverForTest();
    receiver.behave(() => ({ how: "endless", status: 200 }));
    const teller = await startTeller(await fresh(), receiver);
    await newTalk(teller);
    await expect.poll(() => receiver.received.length, PATIENT).toBe(1);
    await allTold(teller.db);
    await expect.poll(receiver.open, PATIENT).toBe(0);
    expect(receiver.received).toHaveLength(1);
  });

  it("is told of a deletion that happened while it was being told of the conversation", async () => {
    const receiver = await receiverForTest();
    const teller = await startTeller(await fresh(), receiver);
    const gate = Promise.withResolvers<void>();
    receiver.behave(() => ({ after: gate.promise }));
    const { id, owner } = await newTalk(teller);
    await expect.poll(receiver.open, PATIENT).toBe(1);
    await deleteConversation(teller.db, owner, { id, now: NOW });
    gate.resolve();
    await toldUpTo(receiver, id, 1);
    await allTold(teller.db);
    expect(receiver.received.map(({ json }: Received) => json.type)).toEqual(["session.changed", "session.deleted"]);
  });

  it("is not waited for when the process ends, and told after the next start what it has not taken", async () => {
    const receiver = await receiverForTest();
    receiver.behave(() => ({ how: "hang" }));
    const url = await fresh();
    const teller = await startTeller(url, receiver, { leaseMs: 120_000 });
    const talk = await newTalk(teller);
    await expect.poll(receiver.open, PATIENT).toBe(1);
    await teller.stop(10);
    await expect.poll(receiver.open, PATIENT).toBe(0);
    receiver.behave(() => ({}));
    const next = await startTeller(url, receiver, { leaseMs: 120_000 });
    await allTold(next.db);
    expect(receiver.of(talk.id).map(({ json }) => json.data.after)).toEqual([-1, -1]);
  });
});
