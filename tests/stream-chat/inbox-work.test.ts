import { randomUUID } from "node:crypto";
import { eq } from "drizzle-orm";
import { describe, expect, it } from "vitest";
import type { Db } from "../../src/db/db.ts";
import { forgetDone } from "../../src/stream-chat/inbox-rows.ts";
import { messagesOf, openForTest, startInstance, turnsOf } from "../support/core-instance.ts";
import { answering, eventually, testModels } from "../support/core-models.ts";
import { databases } from "../support/databases.ts";
import { type Event, messageEvent, newChannel, startInbox } from "../support/stream-inbox.ts";

describe.each(databases)("Stream Chat's webhooks on $database", ({ fresh }) => {
  /** Two instances on a database of their own. */
  async function given() {
    const url = await fresh();
    const [db, other] = [await openForTest(url), await openForTest(url)];
    const rows = () => db.select().from(db.tables.streamEvents);
    const change = (id: string, set: Partial<Awaited<ReturnType<typeof rows>>[number]>) =>
      db.update(db.tables.streamEvents).set(set).where(eq(db.tables.streamEvents.id, id));
    return { db, other, rows, change };
  }
  const open = (db: Db, pace = {}) => startInbox(startInstance(db, answering()), pace);
  const hello = (talk = newChannel(), text = "Hello?"): Event => messageEvent("new", talk, { id: randomUUID(), text });

  it("are known by their id, and of the event nothing is kept once it is done", async () => {
    const { db, rows } = await given();
    const inbox = open(db);
    const talk = newChannel();
    const [event, id] = [hello(talk), randomUUID()];
    expect([await inbox.tell(event, id), await inbox.tell(event, id)]).toEqual(["stored", "known"]);
    await inbox.settled();
    expect(await inbox.tell(event, id)).toBe("known");
    expect(await rows()).toEqual([
      expect.objectContaining({ ...{ id, event: null, error: null, leaseUntil: null }, doneAt: expect.any(Number) }),
    ]);
    expect(await turnsOf(db, talk.channel)).toHaveLength(1);
  });

  it("that come twice at once, by one id or two, to two instances, do their work once", async () => {
    const { db, other, rows } = await given();
    const inboxes = [open(db), open(other)] as const;
    const talk = newChannel();
    const event = hello(talk);
    const ids = [randomUUID(), randomUUID()];
    const told = await Promise.all(
      Array.from({ length: 12 }, (_, i) => inboxes[i % 2 ? 0 : 1].tell(event, ids[Number(i > 5)])),
    );
    expect(told.toSorted()).toEqual([...Array(10).fill("known"), "stored", "stored"]);
    await inboxes[0].settled();
    expect((await rows()).map(({ error }) => error)).toEqual([null, null]);
    const said = (await messagesOf(db, talk.channel)).filter(({ role }) => role === "user");
    expect(said).toHaveLength(1);
    expect(await turnsOf(db, talk.channel)).toHaveLength(1);
    expect(inboxes.flatMap(({ logged }) => logged)).toEqual([]);
  });

  it("are worked on in the order in which they came, within a channel", async () => {
    const { db } = await given();
    const inbox = open(db);
    const talk = { ...newChannel(), user: "ann" };
    await inbox.work(hello({ ...talk, user: "customer" }, "first"));
    const texts = Array.from({ length: 30 }, (_, i) => `${i}`);
    for (const text of texts) await inbox.tell(hello(talk, text));
    await inbox.settled();
    const said = (await messagesOf(db, talk.channel)).filter(({ senderId }) => senderId === "ann");
    expect(said.map(({ content }) => content)).toEqual(texts);
  });

  it("of an instance that has died are another's once its lease is over, and no sooner", async () => {
    const { db, other, rows, change } = await given();
    const [talk, id] = [newChannel(), randomUUID()];
    const leaving = open(db, { lookMs: 3_600_000 });
    await leaving.stop();
    await leaving.tell(hello(talk), id); // stored, and worked on by nobody
    await change(id, { leaseUntil: Date.now() + 3_600_000 });
    const staying = open(other);
    const sentinel = newChannel();
    await leaving.tell(hello(sentinel), randomUUID()); // free: by the time that it is done the other was looked at
    await eventually(async () => expect(await turnsOf(db, sentinel.channel)).toHaveLength(1));
    expect((await rows()).find((row) => row.id === id)).toMatchObject({ doneAt: null });
    await change(id, { leaseUntil: 1 });
    await staying.settled();
    expect(await turnsOf(db, talk.channel)).toHaveLength(1);
  });

  it("that an instance leaves when it stops are another's at once", async () => {
    const { db, other, rows } = await given();
    const hour = { leaseMs: 3_600_000, lookMs: 3_600_000 };
    const leaving = open(db, hour);
    const talk = newChannel();
    const ids = await Promise.all(Array.from({ length: 40 }, async () => leaving.tell(hello(talk))));
    expect(ids).toEqual(Array(40).fill("stored"));
    await leaving.stop(0);
    const left = (await rows()).filter(({ doneAt }) => doneAt === null);
    expect(left.length).toBeGreaterThan(20);
    expect(left.every(({ leaseUntil }) => leaseUntil === null)).toBe(true);
    await open(other).settled();
    expect((await messagesOf(db, talk.channel)).filter(({ role }) => role === "user")).toHaveLength(40);
  });

  it("are tried again where the database failed, and the log has nothing of what they say", async () => {
    const { db, rows } = await given();
    let failures = 2;
    const batch: Db["batch"] = (steps) => {
      if ("conversationId" in (steps[0]?.values ?? {}) && failures-- > 0)
        return Promise.reject(new Error("it is away"));
      return db.batch(steps);
    };
    const inbox = open({ ...db, batch });
    const [talk, id] = [newChannel(), randomUUID()];
    await inbox.tell(hello(talk, "Between us"), id);
    await inbox.settled();
    expect(await rows()).toMatchObject([{ id, attempts: 2, error: null, event: null }]);
    expect(await turnsOf(db, talk.channel)).toHaveLength(1);
    expect(inbox.logged.map(({ fields }) => fields["webhook_id"])).toEqual([id, id]);
    expect(JSON.stringify(inbox.logged)).not.toContain("Between us");
  });

  it("wait while the service is stopping, and are answered by the next", async () => {
    const { db, other } = await given();
    const deps = startInstance(db, testModels());
    deps.live.leaving = true;
    const leaving = startInbox(deps);
    const talk = newChannel();
    await leaving.tell(hello(talk));
    await eventually(async () => {
      const [row] = await db.select().from(db.tables.streamEvents);
      expect(row).toMatchObject({ error: "provider_unavailable", doneAt: null });
    });
    expect(await leaving.backlog()).toEqual({ waiting: 1, oldest: expect.any(Number) });
    await leaving.stop();
    await open(other).settled();
    expect(await turnsOf(db, talk.channel)).toHaveLength(1);
    expect(await leaving.backlog()).toEqual({ waiting: 0, oldest: null });
  });

  it("of a shape that is not known are noted, of other kinds nothing is", async () => {
    const { db, rows } = await given();
    const inbox = open(db);
    const { user: _, ...broken } = hello() as { message: Event; user: unknown };
    const unread = { ...broken, message: { ...broken.message, user: "nobody" } };
    const id = randomUUID();
    expect([await inbox.tell(unread, id), await inbox.tell(unread, id)]).toEqual(["stored", "known"]);
    for (const other of [
      { ...hello(), type: "message.read" },
      { ...hello(), type: "user.updated" },
      { ...hello(), channel_type: "livestream" },
    ]) {
      expect(await inbox.tell(other)).toBe("other");
    }
    expect(await rows()).toEqual([expect.objectContaining({ id, error: "malformed", event: null })]);
    expect(inbox.logged).toMatchObject([{ fields: { webhook_id: id } }]);
  });

  it("are forgotten a day after they are done, and no sooner", async () => {
    const { db, rows, change } = await given();
    const inbox = open(db, { lookMs: 3_600_000 });
    const [old, young, open_] = [randomUUID(), randomUUID(), randomUUID()];
    for (const id of [old, young]) await inbox.tell(hello(), id);
    await inbox.settled();
    await inbox.stop();
    await inbox.tell(hello(), open_);
    const day = 24 * 60 * 60 * 1000;
    await change(old, { doneAt: Date.now() - day - 60_000, receivedAt: 1 });
    await change(young, { doneAt: Date.now() - day + 60_000, receivedAt: 1 });
    await change(open_, { receivedAt: 1 });
    await forgetDone(db, day);
    expect((await rows()).map(({ id }) => id).toSorted()).toEqual([young, open_].toSorted());
  });
});
