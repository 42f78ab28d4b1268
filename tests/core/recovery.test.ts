import { eq, sql } from "drizzle-orm";
import { beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import { deleteConversation } from "../../src/core/conversation-deletion.ts";
import { wholeAnswer } from "../../src/core/follow.ts";
import { LEASE_MS } from "../../src/core/live.ts";
import { sweepTurns } from "../../src/core/recovery.ts";
import { renewLeases, startUpkeep } from "../../src/core/upkeep.ts";
import type { Db } from "../../src/db/db.ts";
import {
  expectTrueCounts,
  lapse,
  messagesOf,
  NOW,
  newConversation,
  openForTest,
  send,
  startInstance,
  turnRow,
} from "../support/core-instance.ts";
import { answering, eventually } from "../support/core-models.ts";
import { listMessages } from "../support/core-pages.ts";
import { databases } from "../support/databases.ts";

const lost = { code: "provider_failed", detail: expect.any(String) };

describe.each(databases)("on $database", ({ fresh }) => {
  let db: Db;
  beforeEach(async () => {
    db = await openForTest(await fresh());
  });

  /** A turn whose process says no more; `text` is what it has stored of the answer. */
  async function givenLost(text = "") {
    const dead = startInstance(db);
    const conversation = await newConversation(db);
    const turn = await send(dead, conversation, "Are you there?");
    const call = await dead.models.call(1);
    const m = db.tables.messages;
    if (text) await db.update(m).set({ content: text }).where(eq(m.id, turn.answerId));
    await lapse(db, turn);
    return { dead, conversation, turn, call };
  }

  describe("a turn whose lease ran out", () => {
    it("is failed where nothing of its answer was stored", async () => {
      const { conversation, turn } = await givenLost();
      await sweepTurns({ ...startInstance(db), clock: () => NOW + 60 });
      expect(await turnRow(db, turn)).toMatchObject({
        status: "failed",
        restarts: 1,
        error: lost,
        leaseUntil: null,
        completedAt: NOW + 60,
      });
      expect((await messagesOf(db, conversation.id))[1]).toMatchObject({ status: "failed", content: "", rev: 3 });
      expect(await conversation.read()).toMatchObject({ openTurns: 0, messageCount: 1, rev: 3, updatedAt: NOW });
    });

    it("is incomplete where some was, and the text is kept and listed", async () => {
      const { conversation, turn } = await givenLost("Half an ans");
      await sweepTurns({ ...startInstance(db), clock: () => NOW + 60 });
      expect(await turnRow(db, turn)).toMatchObject({ status: "incomplete", restarts: 1, error: lost });
      const { rows } = await listMessages(db, conversation.owner, { conversationId: conversation.id, limit: 9 });
      expect(rows.map(({ content }) => content)).toEqual(["Are you there?", "Half an ans"]);
      expect((await messagesOf(db, conversation.id))[1]).toMatchObject({ status: "incomplete", rev: 3 });
      expect(await conversation.read()).toMatchObject({
        openTurns: 0,
        messageCount: 2,
        lastMessage: "Half an ans",
        updatedAt: NOW + 60,
      });
      await expectTrueCounts(db, conversation.id);
    });

    it("leaves its conversation free: the next message is answered", async () => {
      const { conversation } = await givenLost();
      const next = startInstance(db, answering());
      await sweepTurns(next);
      expect(await wholeAnswer(next, await send(next, conversation, "Hello?"))).toMatchObject({
        content: "Answer to Are you there?\n\nHello?",
      });
      await expectTrueCounts(db, conversation.id);
    });

    it("is closed once, however often it is swept", async () => {
      const { conversation, turn } = await givenLost("Half");
      const deps = startInstance(db);
      await Promise.all([sweepTurns(deps), sweepTurns(deps)]);
      const after = [await turnRow(db, turn), await conversation.read()];
      await sweepTurns(deps);
      expect([await turnRow(db, turn), await conversation.read()]).toEqual(after);
      expect(after[0]).toMatchObject({ restarts: 1 });
    });

    it("stays closed: what its own process stores later changes nothing, and its waiter hears how it stands", async () => {
      const { dead, conversation, turn, call } = await givenLost("Half");
      await sweepTurns(startInstance(db));
      const stored = () => Promise.all([turnRow(db, turn), messagesOf(db, conversation.id), conversation.read()]);
      const before = await stored();
      call.end("A whole answer, too late");
      expect(await turn.ended).toMatchObject({
        content: "Half",
        turn: { status: "incomplete", restarts: 1, error: lost },
      });
      await expect(wholeAnswer(dead, turn)).rejects.toMatchObject({
        code: "provider_failed",
        details: { turnId: turn.turnId },
      });
      expect(await stored()).toEqual(before);
      expect(dead.logged).toEqual([]);
    });
  });

  it("a turn whose lease ends later than any lease can is lost: the clock has been set back", async () => {
    const dead = startInstance(db);
    const conversation = await newConversation(db);
    const turns = [await send(dead, conversation, "One"), await send(dead, conversation, "Two")] as const;
    const t = db.tables.turns;
    for (const { turnId } of turns)
      await db
        .update(t)
        .set({ leaseUntil: sql`${t.leaseUntil} + 3600000` })
        .where(eq(t.id, turnId));
    await sweepTurns(startInstance(db, answering()));
    expect(await turnRow(db, turns[0])).toMatchObject({ status: "failed", error: lost });
    await eventually(async () => expect(await turnRow(db, turns[1])).toMatchObject({ status: "completed" }));
  });

  it("a process that has the database for itself takes over at once what was open when it starts, but for its own", async () => {
    const alone: Db = { ...db, isAlone: true };
    const dead = startInstance(db);
    const conversation = await newConversation(db);
    const running = await send(dead, conversation, "One", { requestId: "request-1" });
    const waiting = await send(dead, conversation, "Two", { requestId: "request-2" });
    const next = startInstance(alone, answering());
    const own = startInstance(alone);
    const kept = await send({ ...own, live: next.live }, await newConversation(db), "Mine");
    const stop = await startUpkeep(next);
    onTestFinished(stop);
    expect(await turnRow(db, running)).toMatchObject({ status: "failed", error: lost });
    expect(await turnRow(db, kept)).toMatchObject({ status: "in_progress" });
    await eventually(async () => expect(await turnRow(db, waiting)).toMatchObject({ status: "completed" }));
    await eventually(() => expect(next.lines).toHaveLength(2));
    expect(next.lines).toMatchObject([
      { level: "warn", request_id: "request-1", turn_id: running.turnId, outcome: "failed", code: "provider_failed" },
      { level: "info", request_id: "request-2", turn_id: waiting.turnId, outcome: "completed" },
    ]);
  });

  it("a turn whose lease still holds is left alone", async () => {
    const deps = startInstance(db);
    const conversation = await newConversation(db);
    const turns = [await send(deps, conversation, "One"), await send(deps, conversation, "Two")];
    const rows = () => Promise.all(turns.map((turn) => turnRow(db, turn)));
    const before = await rows();
    const other = startInstance(db, answering());
    await sweepTurns(other);
    expect(await rows()).toEqual(before);
    expect(other.live.turns.size).toBe(0);
  });

  it("a turn whose lease is renewed at the last moment is left alone", async () => {
    const { dead, turn } = await givenLost();
    const slow: Db = {
      ...db,
      async all(...read) {
        const rows = await db.all(...read);
        await renewLeases(dead);
        return rows;
      },
    };
    await sweepTurns(startInstance(slow));
    expect(await turnRow(db, turn)).toMatchObject({ status: "in_progress", restarts: 0 });
  });

  it("an answer that cannot be stored at once is stored as soon as it can, and told of in the log", async () => {
    let failures = 2;
    const finish: Db["turnWrites"]["finish"] = (input) =>
      failures-- > 0 ? Promise.reject(new Error("disk full")) : db.turnWrites.finish(input);
    const deps = startInstance({ ...db, turnWrites: { ...db.turnWrites, finish } }, answering());
    const turn = await send(deps, await newConversation(db), "Are you there?");
    expect(await wholeAnswer(deps, turn)).toMatchObject({ content: "Answer to Are you there?" });
    expect(await turnRow(db, turn)).toMatchObject({ status: "completed" });
    const told = expect.objectContaining({ turn_id: turn.turnId, err: new Error("disk full") });
    expect(deps.logged).toEqual([told, told]);
  });

  it("a turn that could not be stored while its lease held is told of in the log, and closed by a sweep", async () => {
    let late = 0;
    const real = performance.now.bind(performance);
    const watch = vi.spyOn(performance, "now").mockImplementation(() => real() + late);
    onTestFinished(() => watch.mockRestore());
    const full: Db["turnWrites"] = {
      ...db.turnWrites,
      finish() {
        late += LEASE_MS;
        return Promise.reject(new Error("disk full"));
      },
    };
    const deps = startInstance({ ...db, turnWrites: full }, answering());
    const conversation = await newConversation(db);
    const turn = await send(deps, conversation, "Are you there?");
    await expect(turn.ended).rejects.toThrow("disk full");
    await eventually(() =>
      expect(deps.logged).toEqual([expect.objectContaining({ turn_id: turn.turnId, err: expect.any(Error) })]),
    );
    expect(deps.counted).toEqual(["internal_error"]);
    expect(await turnRow(db, turn)).toMatchObject({ status: "in_progress" });
    await lapse(db, turn);
    await sweepTurns(deps);
    expect(await turnRow(db, turn)).toMatchObject({ status: "failed", error: lost });
    await expectTrueCounts(db, conversation.id);
  });

  describe("leases", () => {
    it("are renewed for this process's turns, running or in line, and for no other's", async () => {
      const [mine, other] = [startInstance(db), startInstance(db)];
      const conversation = await newConversation(db);
      const turns = [await send(mine, conversation, "One"), await send(mine, conversation, "Two")];
      const foreign = await send(other, await newConversation(db), "Three");
      await lapse(db, ...turns, foreign);
      await renewLeases(mine);
      for (const turn of turns) expect((await turnRow(db, turn)).leaseUntil).toBeGreaterThan(Date.now());
      expect((await turnRow(db, foreign)).leaseUntil).toBe(1);
      await renewLeases(other);
      expect((await turnRow(db, foreign)).leaseUntil).toBeGreaterThan(Date.now());
    });

    it("are not renewed for a turn that was ended elsewhere: its provider is stopped", async () => {
      const mine = startInstance(db);
      const conversation = await newConversation(db);
      const turns = [await send(mine, conversation, "One"), await send(mine, conversation, "Two")];
      const ended = await mine.models.call(1);
      const running = await send(mine, await newConversation(db), "Go on");
      const goesOn = await mine.models.call(2);
      await deleteConversation(db, conversation.owner, { id: conversation.id, now: NOW });
      await renewLeases(mine);
      expect([ended.signal.aborted, goesOn.signal.aborted]).toEqual([true, false]);
      for (const turn of turns) await expect(wholeAnswer(mine, turn)).rejects.toMatchObject({ code: "turn_cancelled" });
      expect(mine.models.calls).toHaveLength(2);
      goesOn.end("Done");
      expect(await wholeAnswer(mine, running)).toMatchObject({ content: "Done" });
    });
  });

  it("recovery looks at once when it starts, and then every few seconds until it is stopped", async () => {
    const [before, later] = [await givenLost(), await givenLost()];
    const own = startInstance(db);
    const kept = await send(own, await newConversation(db), "Mine");
    await renewLeases(later.dead);
    const stop = await startUpkeep(own);
    try {
      expect(await turnRow(db, before.turn)).toMatchObject({ status: "failed", restarts: 1 });
      expect(await turnRow(db, later.turn)).toMatchObject({ status: "in_progress" });
      await lapse(db, later.turn, kept);
      await eventually(async () => expect(await turnRow(db, later.turn)).toMatchObject({ status: "failed" }));
      expect(await turnRow(db, kept)).toMatchObject({ status: "in_progress", leaseUntil: expect.any(Number) });
      expect((await turnRow(db, kept)).leaseUntil).toBeGreaterThan(Date.now());
    } finally {
      stop();
    }
  });
});
