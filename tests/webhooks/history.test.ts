import { describe, expect, it } from "vitest";
import { NOBODY_TO_TELL } from "../../src/db/outbox-tables.ts";
import { startApp } from "../support/app.ts";
import { openForTest } from "../support/core-instance.ts";
import { databases } from "../support/databases.ts";
import { nextId } from "../support/db-ids.ts";
import { receiverForTest } from "../support/receiver.ts";
import { allTold, newTalk, say, startTeller, toldUpTo } from "../support/webhook-scene.ts";

describe.each(databases)("on $database", ({ fresh }) => {
  it("nothing is noted for a webhook that is not configured", async () => {
    const url = await fresh();
    const app = await startApp({ DATABASE_URL: url });
    const { id } = (await app.call("POST", "/chats", {})).json;
    await app.call("POST", "/chat", { chat_id: id, message: "Hello?" });
    await app.call("POST", "/chat", { chat_id: id, message: "Hello again?" }, { "idempotency-key": "key-1" });
    await app.call("POST", "/api/chat/send", { message: "A new one" });
    await app.call("POST", "/api/chat/send", { message: "Another" }, { "idempotency-key": "key-2" });
    await app.call("POST", "/api/v1/sessions", {});
    await app.call("DELETE", `/chats/${id}`);
    await app.stop();
    const db = await openForTest(url);
    const { conversations, tombstones, deliveries } = db.tables;
    const rows = [...(await db.select().from(conversations)), ...(await db.select().from(tombstones))];
    expect(rows.map(({ told }) => told)).toEqual(Array(4).fill(NOBODY_TO_TELL));
    expect(await db.select().from(deliveries)).toEqual([]);
  });

  it("a webhook is told of what is made on any way, from its beginning", async () => {
    const receiver = await receiverForTest();
    const url = await fresh();
    const env = { WEBHOOK_URL: receiver.url, WEBHOOK_SECRET: "a secret without a prefix" };
    const app = await startApp({ DATABASE_URL: url, ...env });
    await app.call("POST", "/chats", {});
    await app.call("POST", "/api/chat/send", { message: "A new one" });
    await app.call("POST", "/api/chat/send", { message: "Another" }, { "idempotency-key": "key-1" });
    await app.call("POST", "/api/v1/sessions", {});
    const db = await openForTest(url);
    await allTold(db);
    await app.stop();
    const ids = (await db.select().from(db.tables.conversations)).map(({ id }) => id);
    expect(ids.map((id) => receiver.of(id)[0]?.json.data.after)).toEqual([-1, -1, -1, -1]);
  });

  it("a webhook that is new is told nothing of what was before, and of what changes from then on", async () => {
    const url = await fresh();
    const before = await openForTest(url);
    const talk = await newTalk({ db: before });
    await say({ db: before }, talk, "Long ago");
    const receiver = await receiverForTest();
    const teller = await startTeller(url, receiver);
    await say(teller, talk, "Today");
    const [delivery, ...more] = await toldUpTo(receiver, talk.id, 2);
    expect(more).toEqual([]);
    expect(delivery?.json.data).toMatchObject({ after: 1, messages: [{ content: "Today" }] });
  });

  it("a new webhook takes up whatever is there, also thousands, and leaves alone what was told before", async () => {
    const url = await fresh();
    const before = await openForTest(url);
    const { conversations: c } = before.tables;
    const old = Array.from({ length: 2_345 }, (_, i) => ({
      id: nextId(),
      userId: "u",
      rev: i,
      createdAt: 1,
      updatedAt: 1,
    }));
    for (let i = 0; i < old.length; i += 500) await before.insert(c).values(old.slice(i, i + 500));
    const untold = { id: nextId(), userId: "u", rev: 7, told: 3, createdAt: 1, updatedAt: 1 };
    await before.insert(c).values(untold);
    const receiver = await receiverForTest();
    await startTeller(url, receiver);
    await allTold(before);
    const rows = await before.select().from(c);
    expect(rows.filter(({ rev, told }) => rev !== told)).toEqual([]);
    expect(receiver.received.map(({ json }) => [json.data.session.id, json.data.after])).toEqual([[untold.id, 3]]);
  });

  it("what was left untold when a webhook was taken away is told when it is back", async () => {
    const url = await fresh();
    const receiver = await receiverForTest();
    const first = await startTeller(url, receiver);
    const talk = await newTalk(first);
    await allTold(first.db);
    await first.stop();
    const without = await openForTest(url);
    await say({ db: without }, talk, "Meanwhile");
    const again = await startTeller(url, receiver);
    await toldUpTo(receiver, talk.id, 1);
    await allTold(again.db);
  });
});
