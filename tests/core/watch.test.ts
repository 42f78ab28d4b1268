import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { deleteConversation } from "../../src/core/conversation-deletion.ts";
import { createInbox, MOST_TEXT, MOST_WAITING } from "../../src/core/inbox.ts";
import { post } from "../../src/core/posting.ts";
import { saveText } from "../../src/core/upkeep.ts";
import type { Db } from "../../src/db/db.ts";
import { NOW, newConversation, send } from "../support/core-instance.ts";
import { eventually } from "../support/core-models.ts";
import { ROOT, startWatching, type Watching, watch } from "../support/core-watch.ts";
import { databases, open } from "../support/databases.ts";

const say = (at: Watching, conversationId: string, content: string) =>
  post(at, ROOT, {
    ...{ conversationId, content, role: "user", senderId: "root", metadata: null, extensions: [], key: null },
  });

describe.each(databases)("sessions that are watched on $database", ({ fresh }) => {
  let db: Db;
  beforeAll(async () => {
    db = await open(await fresh());
  });
  afterAll(() => db.close());

  /** A database that counts what is read of it, and may fail. */
  function frail(): { db: Db; reads: number; failing: boolean } {
    const state = { db, reads: 0, failing: false };
    const all: Db["all"] = async (statement, values) => {
      state.reads++;
      if (state.failing) throw new Error("the database is away");
      return db.all(statement, values);
    };
    state.db = { ...db, all };
    return state;
  }

  it("are read once for all who watch, and not at all once nobody does", async () => {
    const state = frail();
    const at = await startWatching(state.db);
    const { id } = await newConversation(db);
    const watchers = Array.from({ length: 50 }, () => watch(at, id));
    await say(at, id, "first");
    for (const { upTo } of watchers) await upTo(1);
    const before = state.reads;
    await say(at, id, "second");
    for (const { upTo } of watchers) await upTo(2);
    expect(state.reads - before).toBeLessThan(watchers.length);
    for (const { leave } of watchers) leave();
    await Promise.all(watchers.map(({ done }) => done));
    const rest = state.reads;
    at.bus.send({ type: "changed", conversationId: id });
    await say(await startWatching(db), id, "third");
    expect(state.reads).toBe(rest);
  });

  it("are told on when the database was away for a while, and the answer that grew meanwhile from where it was", async () => {
    const state = frail();
    const at = await startWatching(state.db);
    const there = await startWatching(db);
    const conversation = await newConversation(db);
    const { upTo, view, told } = watch(at, conversation.id);
    await say(there, conversation.id, "before");
    await upTo(1);
    const turn = await send(there, conversation, "Who are you?");
    const call = await there.models.call(1);
    const saySo = async (text: string, soFar: string) => {
      call.say(text);
      await eventually(() => expect(turn.progress.standing.text).toBe(soFar));
      await saveText(there);
    };
    await saySo("I am", "I am");
    await eventually(() => expect(view.drafts.get(turn.answerId)?.text).toBe("I am"));
    state.failing = true;
    await say(there, conversation.id, "meanwhile");
    await eventually(() => expect(at.logged.length).toBeGreaterThan(1));
    await saySo(" Par", "I am Par");
    state.failing = false;
    await upTo(4);
    await eventually(() => expect(view.drafts.get(turn.answerId)?.text).toBe("I am Par"));
    call.end("ley");
    await upTo(5);
    expect(view.wrongs).toEqual([]);
    expect(told.filter((one) => one.type === "delta" && one.offset === 0)).toHaveLength(1);
  });

  it("are looked at though no note comes, also past the many that one query looks at", async () => {
    const [at, there] = [await startWatching({ ...db, carrier: null }), await startWatching({ ...db, carrier: null })];
    for (let i = 0; i < 1_100; i++) at.watch.join({ id: randomUUID(), rev: 0 }, () => {});
    const { id, owner } = await newConversation(db);
    const { upTo, done } = watch(at, id);
    await say(there, id, "without a note");
    await upTo(1);
    expect(at.logged).toEqual([]);
    await deleteConversation(db, owner, { id, now: NOW });
    await done;
  });
});

describe("what waits for a reader", () => {
  const delta = (offset: number, text: string) => ({
    ...{ type: "delta" as const, messageId: "m", turnId: "t", n: 0 },
    ...{ offset, text },
  });
  const revision = (rev: number) => ({ type: "revision" as const, rev, session: null, messages: [] });

  it("is kept in order, and what was said of an answer in one piece", async () => {
    const inbox = createInbox();
    inbox.put(revision(1));
    expect(inbox.isBehind()).toBe(true); // it begins behind, and keeps nothing until it has caught up
    inbox.catchUp();
    expect(inbox.take()).toEqual([]);
    const filled = inbox.filled();
    for (const told of [delta(0, "Hi "), delta(3, "there"), revision(2), delta(8, "!")]) inbox.put(told);
    await filled;
    expect(inbox.take()).toEqual([delta(0, "Hi there"), revision(2), delta(8, "!")]);
    expect(inbox.take()).toEqual([]);
  });

  it("is let go of where it is too much, in number or in text, until the reader catches up", () => {
    const [many, much] = [createInbox(), createInbox()];
    for (const inbox of [many, much]) inbox.catchUp();
    for (let rev = 1; rev <= MOST_WAITING; rev++) many.put(revision(rev));
    much.put(delta(0, "x".repeat(MOST_TEXT)));
    expect([many, much].map((inbox) => inbox.isBehind())).toEqual([false, false]);
    many.put(revision(MOST_WAITING + 1));
    much.put(delta(MOST_TEXT, "x"));
    for (const inbox of [many, much]) {
      expect(inbox.isBehind()).toBe(true);
      inbox.put(revision(9_999));
      expect(inbox.take()).toEqual([]);
      inbox.catchUp();
      inbox.put(revision(10_000));
      expect(inbox.take()).toEqual([revision(10_000)]);
    }
  });
});
