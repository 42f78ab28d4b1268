import { eq } from "drizzle-orm";
import { describe, expect, it } from "vitest";
import { deleteConversation } from "../../src/core/conversation-deletion.ts";
import { markRead } from "../../src/core/read-markers.ts";
import { sweepTurns } from "../../src/core/recovery.ts";
import { changeSession, findSessions, getSession, MOST_METADATA } from "../../src/core/sessions.ts";
import { heedCancellations } from "../../src/core/upkeep.ts";
import {
  as,
  expectTrueCounts,
  messagesOf,
  openForTest,
  send,
  startInstance,
  turnRow,
  turnsOf,
} from "../support/core-instance.ts";
import { givenLine } from "../support/core-line.ts";
import { answering } from "../support/core-models.ts";
import {
  ADMIN,
  ANN,
  ASK,
  accept,
  assign,
  BACK,
  BEN,
  END,
  move,
  newSession,
  notesOf,
  say,
} from "../support/core-sessions.ts";
import { databases } from "../support/databases.ts";
import { useDatabase } from "../support/db-handles.ts";

const code = (code: string) => expect.objectContaining({ code });

describe.each(databases)("a live session on $database", ({ fresh }) => {
  const handles = useDatabase(fresh);
  const start = () => [startInstance(handles.db), startInstance(handles.other)] as const;

  it("is accepted by one of many who try at once, on two instances", async () => {
    const instances = start();
    const session = await newSession(handles.db);
    await move(instances[0], session.owner, session, ASK);
    const agents = Array.from({ length: 20 }, (_, i) => as("agent", `agent-${i}`));
    const tries = await Promise.allSettled(
      agents.map((agent, i) => move(instances[i % 2] ?? instances[0], agent, session, accept(agent))),
    );
    const winner = agents.filter((_, i) => tries[i]?.status === "fulfilled");
    expect(winner).toHaveLength(1);
    const refused = tries.filter((one) => one.status === "rejected").map(({ reason }) => reason);
    expect(refused).toEqual(Array.from({ length: 19 }, () => code("already_accepted")));
    expect(await session.read()).toMatchObject({ control: "agent", status: "transferred", agentId: winner[0]?.self });
    expect(await notesOf(handles.db, session.id)).toHaveLength(2);
  });

  it("is accepted again by the one who has it, which changes nothing", async () => {
    const [deps] = start();
    const session = await newSession(handles.db);
    await move(deps, session.owner, session, ASK);
    const first = await move(deps, ANN, session, accept(ANN));
    expect(await move(deps, ANN, session, accept(ANN))).toEqual(first);
  });

  it("is asked for an agent once, of however many askings", async () => {
    const [deps, other] = start();
    const session = await newSession(handles.db);
    const asked = await Promise.allSettled(
      [deps, other, deps, other].map((at) => move(at, session.owner, session, ASK)),
    );
    expect(asked.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    for (const one of asked) if (one.status === "rejected") expect(one.reason).toEqual(code("unlawful_move"));
    expect(await session.read()).toMatchObject({
      control: "queue",
      status: "transferred",
      agentId: null,
      isLive: true,
    });
  });

  it("has a note for each move: who made it, whose it became and why, in words of its own", async () => {
    const [deps] = start();
    const session = await newSession(handles.db);
    const { owner, id } = session;
    await changeSession(deps, owner, { id, move: ASK, reason: "It knows nothing." });
    await move(deps, ANN, session, accept(ANN));
    await move(deps, ANN, session, assign("ben"));
    await changeSession(deps, BEN, { id, move: BACK, reason: "Solved." });
    await move(deps, owner, session, END);
    const notes = await notesOf(handles.db, id);
    expect(notes.map(({ metadata }) => metadata)).toEqual([
      { event: "to_queue", by: owner.self, reason: "It knows nothing." },
      { event: "to_agent", by: "ann", agent_id: "ann" },
      { event: "to_agent", by: "ann", agent_id: "ben" },
      { event: "to_assistant", by: "ben", reason: "Solved." },
      { event: "ended", by: owner.self },
    ]);
    for (const { content, senderId, status } of notes) {
      expect(content).toMatch(/^(The|An) .+\.$/);
      expect({ senderId, status }).toEqual({ senderId: null, status: "completed" });
    }
  });

  it("counts no note, and is not titled by one", async () => {
    const [deps] = start();
    const session = await newSession(handles.db);
    await move(deps, session.owner, session, ASK);
    expect(await session.read()).toMatchObject({ messageCount: 0, lastMessage: null, title: null, rev: 1 });
  });

  it("waits in line since it was asked for, and no more once it was accepted", async () => {
    const [deps] = start();
    const session = await newSession(handles.db);
    await move(deps, session.owner, session, ASK);
    const { queuedAt: since } = await session.read();
    expect(since).toEqual(expect.any(Number));
    await changeSession(deps, session.owner, { id: session.id, move: null, metadata: { mood: "bad" } });
    expect(await session.read()).toMatchObject({ queuedAt: since });
    await move(deps, ANN, session, accept(ANN));
    expect(await session.read()).toMatchObject({ queuedAt: null });
  });

  it("ends once and for all; ending it again is the same answer, and leaves no second note", async () => {
    const [deps, other] = start();
    const session = await newSession(handles.db);
    const ends = await Promise.all([deps, other, deps].map((at) => move(at, session.owner, session, END)));
    for (const end of ends) expect(end).toEqual(ends[0]);
    expect(ends[0]).toMatchObject({ status: "ended", endedAt: expect.any(Number) });
    expect(await notesOf(handles.db, session.id)).toHaveLength(1);
    for (const wanted of [ASK, BACK, assign("ann"), accept(ANN)]) {
      await expect(move(deps, ANN, session, wanted)).rejects.toEqual(code("session_ended"));
    }
  });

  const takings = [
    ["asked for an agent", ASK],
    ["handed to one", assign("ann")],
    ["ended", END],
  ] as const;
  it.each(takings)("that is %s stops its turns in the same step, and keeps their text", async (_, wanted) => {
    const [deps] = start();
    const session = await newSession(handles.db);
    const [running, waiting] = [await send(deps, session, "One"), await send(deps, session, "Two")];
    const call = await deps.models.call(1);
    call.say("So far");
    await move(deps, ANN, session, wanted);
    expect(call.signal.aborted).toBe(true);
    expect(await turnRow(handles.db, waiting)).toMatchObject({ status: "failed", error: { code: "turn_cancelled" } });
    await Promise.all([running.ended, waiting.ended]);
    expect(await turnRow(handles.db, running)).toMatchObject({
      status: "incomplete",
      error: { code: "turn_cancelled" },
    });
    expect((await messagesOf(handles.db, session.id)).map(({ content, status }) => [content, status])).toEqual([
      ["One", "completed"],
      ["So far", "incomplete"],
      ["Two", "completed"],
      ["", "failed"],
      [expect.any(String), "completed"],
    ]);
    expect(deps.models.calls).toHaveLength(1);
  });

  it("stops the turns of another instance, too, as soon as that looks", async () => {
    const [deps, other] = start();
    const session = await newSession(handles.db);
    const [running, waiting] = [await send(other, session, "One"), await send(other, session, "Two")];
    const call = await other.models.call(1);
    await move(deps, session.owner, session, ASK);
    expect((await turnRow(handles.db, running)).cancelRequestedAt).not.toBeNull();
    await heedCancellations(other);
    expect(call.signal.aborted).toBe(true);
    await Promise.all([running.ended, waiting.ended]);
    expect(other.models.calls).toHaveLength(1);
    await expectTrueCounts(handles.db, session.id);
  });

  it("leaves nothing to take up to whoever sweeps, where the process of its turns is gone", async () => {
    const db = await openForTest(await fresh());
    const line = await givenLine(db, 2);
    const { conversation } = line;
    await line.kill();
    const rescuer = startInstance(db);
    await move(rescuer, conversation.owner, conversation, ASK);
    await sweepTurns(rescuer);
    expect(rescuer.live.turns.size).toBe(0);
    expect((await turnsOf(db, conversation.id)).map(({ status, error }) => [status, error?.code])).toEqual(
      [0, 1, 2].map(() => ["failed", "turn_cancelled"]),
    );
    expect(rescuer.models.calls).toHaveLength(0);
  });

  describe("has metadata that", () => {
    it("is merged, a null takes a field out, and nothing of it is lost to others at once", async () => {
      const instances = start();
      const { id, owner, read } = await newSession(handles.db);
      const set = (i: number, metadata: Record<string, unknown>) =>
        changeSession(instances[i % 2] ?? instances[0], owner, { id, move: null, metadata });
      await Promise.all(Array.from({ length: 12 }, (_, i) => set(i, { [`field-${i}`]: i, gone: i })));
      await set(0, { gone: null, nested: { a: [1.5, null, "ü"] } });
      const fields = Object.fromEntries(Array.from({ length: 12 }, (_, i) => [`field-${i}`, i]));
      expect((await read()).metadata).toEqual({ ...fields, nested: { a: [1.5, null, "ü"] } });
      expect((await read()).rev).toBe(13);
    });

    it("holds so much and no more, however many pieces it comes in", async () => {
      const [deps] = start();
      const { id, owner, read } = await newSession(handles.db);
      const half = "x".repeat(MOST_METADATA / 2);
      await changeSession(deps, owner, { id, move: null, metadata: { a: half } });
      const more = changeSession(deps, owner, { id, move: null, metadata: { b: half } });
      await expect(more).rejects.toEqual(code("validation_failed"));
      await changeSession(deps, owner, { id, move: null, metadata: { a: null, b: half } });
      expect((await read()).metadata).toEqual({ b: half });
    });

    it("is changed with a move in one step, or not at all", async () => {
      const [deps] = start();
      const { id, owner, read } = await newSession(handles.db);
      await changeSession(deps, owner, { id, move: ASK, metadata: { topic: "money" } });
      const again = changeSession(deps, owner, { id, move: ASK, metadata: { topic: "love" } });
      await expect(again).rejects.toEqual(code("unlawful_move"));
      expect(await read()).toMatchObject({ control: "queue", metadata: { topic: "money" } });
    });

    it("is not changed once it has ended", async () => {
      const [deps] = start();
      const session = await newSession(handles.db);
      await move(deps, session.owner, session, END);
      const changed = changeSession(deps, session.owner, { id: session.id, move: null, metadata: { a: 1 } });
      await expect(changed).rejects.toEqual(code("session_ended"));
    });
  });

  describe("tells each reader what others said since it looked:", () => {
    it("their words and answers, no notes, none of its own, none that is deleted", async () => {
      const deps = startInstance(handles.db, answering());
      const session = await newSession(handles.db);
      const { owner, id } = session;
      const unread = async (who = owner) => (await getSession(handles.db, who, id)).unread;
      expect(await unread()).toBe(0);
      await (await send(deps, session, "Hello?")).ended;
      await move(deps, owner, session, ASK);
      expect([await unread(), await unread(ANN)]).toEqual([1, 2]);
      await move(deps, ANN, session, accept(ANN));
      await say(deps, ANN, session, "I am here.");
      expect([await unread(), await unread(ANN), await unread(BEN)]).toEqual([2, 2, 3]);
      const last = (await messagesOf(handles.db, id)).at(-1);
      await markRead(handles.db, owner, { conversationId: id, seq: last?.seq ?? 0 });
      expect([await unread(), await unread(ANN)]).toEqual([0, 2]);
    });

    it("a marker goes no way back, nor beyond the end", async () => {
      const [deps] = start();
      const session = await newSession(handles.db);
      const { owner, id } = session;
      const read = (seq: number) => markRead(handles.db, owner, { conversationId: id, seq });
      for (const text of ["One", "Two"]) await say(deps, ANN, session, text);
      await read(2 ** 31 - 1);
      await read(1);
      expect((await getSession(handles.db, owner, id)).unread).toBe(0);
      await say(deps, ANN, session, "Three");
      expect((await getSession(handles.db, owner, id)).unread).toBe(1);
    });

    it("also after it has ended, since a marker is reading; and a stranger has none", async () => {
      const [deps] = start();
      const session = await newSession(handles.db);
      const { owner, id } = session;
      await say(deps, ANN, session, "Good bye.");
      await move(deps, ANN, session, END);
      expect((await getSession(handles.db, owner, id)).unread).toBe(1);
      await markRead(handles.db, owner, { conversationId: id, seq: 1 });
      expect((await getSession(handles.db, owner, id)).unread).toBe(0);
      await expect(markRead(handles.db, as("user", "eve"), { conversationId: id, seq: 1 })).rejects.toEqual(
        code("not_found"),
      );
    });
  });

  it("is listed for its user, without the ended if they are not wanted, by pages that repeat nothing", async () => {
    const [deps] = start();
    const first = await newSession(handles.db);
    const { owner } = first;
    const ids = [first.id];
    for (let i = 0; i < 6; i++) {
      const { id } = await newSessionOf(owner.self);
      ids.push(id);
    }
    for (const id of ids.slice(0, 3)) await move(deps, owner, { id }, END);
    const page = async (activeOnly: boolean) => {
      const seen: string[] = [];
      let after: { updatedAt: number; id: string } | undefined;
      do {
        const { ids, next } = await findSessions(handles.db, owner, { limit: 2, offset: 0, after, activeOnly });
        seen.push(...ids);
        after = next ?? undefined;
      } while (after);
      return seen;
    };
    expect((await page(false)).toSorted()).toEqual(ids.toSorted());
    expect((await page(true)).toSorted()).toEqual(ids.slice(3).toSorted());
  });

  /** A conversation of that user. */
  const newSessionOf = async (userId: string) => {
    const made = await newSession(handles.db);
    const c = handles.db.tables.conversations;
    await handles.db.update(c).set({ userId }).where(eq(c.id, made.id));
    return made;
  };

  it("that is deleted takes its markers and what hangs on it along", async () => {
    const [deps] = start();
    const session = await newSession(handles.db);
    const { owner, id } = session;
    const extensions = [{ type: "reaction", data: { emoji: "👍" } }];
    await say(deps, owner, session, "Hello", { extensions });
    await markRead(handles.db, owner, { conversationId: id, seq: 1 });
    await move(deps, owner, session, END);
    await deleteConversation(handles.db, owner, { id, now: deps.clock() });
    await expect(getSession(handles.db, ADMIN, id)).rejects.toEqual(code("not_found"));
    const { readMarkers: r } = handles.db.tables;
    expect(await handles.db.select().from(r).where(eq(r.conversationId, id))).toEqual([]);
  });
});
