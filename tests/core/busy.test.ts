import { setImmediate } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { wholeAnswer } from "../../src/core/follow.ts";
import { isOpen } from "../../src/core/rows.ts";
import type { IfBusy } from "../../src/core/turns.ts";
import { heedCancellations } from "../../src/core/upkeep.ts";
import type { Db } from "../../src/db/db.ts";
import {
  expectTrueCounts,
  messagesOf,
  newConversation,
  newUser,
  send,
  startInstance,
  turnRow,
  turnsOf,
} from "../support/core-instance.ts";
import { answering, answerTo, eventually, testModels } from "../support/core-models.ts";
import { pick, randomFrom } from "../support/core-random.ts";
import { databases } from "../support/databases.ts";
import { openBoth } from "../support/db-handles.ts";

const cancelled = { code: "turn_cancelled", detail: expect.any(String) };

describe.each(databases)("a message to a busy conversation on $database", ({ fresh }) => {
  let db: Db;
  let other: Db;
  openBoth(fresh, (handles) => ({ db, other } = handles));

  /** A running turn that has said something, and so many in line. */
  async function given(waiting: number) {
    const deps = startInstance(db);
    const conversation = await newConversation(db);
    const running = await send(deps, conversation, "Question 0");
    const call = await deps.models.call(1);
    call.say("Half");
    await eventually(() => expect(running.progress.standing.text).toBe("Half"));
    const line = [];
    for (let i = 1; i <= waiting; i++) line.push(await send(deps, conversation, `Question ${i}`));
    const stored = async () => [
      await conversation.read(),
      await messagesOf(db, conversation.id),
      await turnsOf(db, conversation.id),
    ];
    return { deps, conversation, running, call, line, stored };
  }

  describe("that would rather be refused", () => {
    it("is, with the turn that runs, and nothing of it is stored", async () => {
      for (const waiting of [0, 2]) {
        const { deps, conversation, running, stored } = await given(waiting);
        const before = await stored();
        for (const process of [deps, startInstance(other)]) {
          await expect(send(process, conversation, "Me", { ifBusy: "reject" })).rejects.toMatchObject({
            code: "conversation_busy",
            details: { turnId: running.turnId },
          });
        }
        expect(await stored()).toEqual(before);
      }
    });

    it("is answered where nothing is open, also right after a turn has ended", async () => {
      const { deps, conversation, running, call } = await given(0);
      call.end();
      await running.ended;
      const turn = await send(deps, conversation, "Me", { ifBusy: "reject" });
      (await deps.models.call(2)).end("You");
      expect(await wholeAnswer(deps, turn)).toMatchObject({ content: "You" });
    });

    it("is told that there is none where it is somebody else's, busy or not", async () => {
      const { deps, conversation } = await given(0);
      const foreign = { ...conversation, owner: newUser() };
      for (const ifBusy of ["queue", "reject", "interrupt"] as const) {
        await expect(send(deps, foreign, "Me", { ifBusy })).rejects.toMatchObject({ code: "not_found" });
      }
      await expectTrueCounts(db, conversation.id);
    });

    it("is let in alone of ten at the same moment, from two instances", async () => {
      const models = testModels();
      const instances = [startInstance(db, models), startInstance(other, models)] as const;
      const conversation = await newConversation(db);
      const sent = await Promise.allSettled(
        Array.from({ length: 10 }, (_, i) =>
          send(instances[i % 2 === 0 ? 0 : 1], conversation, `Me ${i}`, { ifBusy: "reject" }),
        ),
      );
      const begun = sent.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
      expect(begun).toHaveLength(1);
      const busy = expect.objectContaining({ code: "conversation_busy", details: { turnId: begun[0]?.turnId } });
      expect(sent.filter(({ status }) => status === "rejected")).toEqual(
        Array.from({ length: 9 }, () => ({ status: "rejected", reason: busy })),
      );
      expect(await conversation.read()).toMatchObject({ messageCount: 1, openTurns: 1, rev: 2 });
      await expectTrueCounts(db, conversation.id);
    });
  });

  describe("that interrupts", () => {
    it("cancels the turn that runs, its text kept, closes those in line, and is answered", async () => {
      const { deps, conversation, running, call, line } = await given(2);
      const turn = await send(deps, conversation, "Stop. Me.", { ifBusy: "interrupt" });
      expect(call.signal.aborted).toBe(true);
      const next = await deps.models.call(2);
      expect(next.messages).toEqual([
        { role: "user", content: "Question 0" },
        { role: "assistant", content: "Half" },
        { role: "user", content: "Question 1\n\nQuestion 2\n\nStop. Me." },
      ]);
      next.end("You");
      expect(await wholeAnswer(deps, turn)).toMatchObject({ content: "You" });
      expect((await running.ended).turn).toMatchObject({ status: "incomplete", error: cancelled });
      expect(await turnRow(db, running)).toMatchObject({ status: "incomplete", error: cancelled });
      for (const gone of line) {
        await expect(wholeAnswer(deps, gone)).rejects.toMatchObject({ code: "turn_cancelled" });
        expect(await turnRow(db, gone)).toMatchObject({ status: "failed", error: cancelled, leaseUntil: null });
      }
      expect(deps.models.calls).toHaveLength(2);
      expect(await conversation.read()).toMatchObject({ openTurns: 0, lastMessage: "You" });
      await expectTrueCounts(db, conversation.id);
    });

    it("never has two run: it waits in line until the turn that it stopped is stored", async () => {
      const { deps, conversation, running } = await given(0);
      const late = Promise.withResolvers<void>();
      const finish: Db["turnWrites"]["finish"] = async (input) => {
        await late.promise;
        return db.turnWrites.finish(input);
      };
      Object.assign(deps, { db: { ...db, turnWrites: { ...db.turnWrites, finish } } });
      const turn = await send(deps, conversation, "Me", { ifBusy: "interrupt" });
      expect(await turnRow(db, turn)).toMatchObject({ status: "queued" });
      expect(await turnRow(db, running)).toMatchObject({ status: "in_progress" });
      expect(await conversation.read()).toMatchObject({ openTurns: 2 });
      expect(deps.models.calls).toHaveLength(1);
      late.resolve();
      (await deps.models.call(2)).end("You");
      expect(await wholeAnswer(deps, turn)).toMatchObject({ content: "You" });
      await expectTrueCounts(db, conversation.id);
    });

    it("is let in where the queue is full, which it clears", async () => {
      const { deps, conversation, line } = await given(16);
      const turn = await send(deps, conversation, "Me", { ifBusy: "interrupt" });
      (await deps.models.call(2)).end("You");
      expect(await wholeAnswer(deps, turn)).toMatchObject({ content: "You" });
      for (const gone of line) expect(await turnRow(db, gone)).toMatchObject({ status: "failed", error: cancelled });
      expect(await conversation.read()).toMatchObject({ openTurns: 0, messageCount: 20 });
      await expectTrueCounts(db, conversation.id);
    });

    it("does the same where another instance runs and holds the others", async () => {
      const { deps, conversation, running, call, line } = await given(2);
      const elsewhere = startInstance(other);
      const turn = await send(elsewhere, conversation, "Me", { ifBusy: "interrupt" });
      expect(await turnRow(db, turn)).toMatchObject({ status: "queued" });
      for (const gone of line) expect(await turnRow(db, gone)).toMatchObject({ status: "failed", error: cancelled });
      expect(await conversation.read()).toMatchObject({ openTurns: 2 });
      await heedCancellations(deps);
      expect(call.signal.aborted).toBe(true);
      expect((await running.ended).turn).toMatchObject({ status: "incomplete", error: cancelled });
      (await elsewhere.models.call(1)).end("You");
      expect(await wholeAnswer(elsewhere, turn)).toMatchObject({ content: "You" });
      for (const gone of line) await expect(wholeAnswer(deps, gone)).rejects.toMatchObject({ code: "turn_cancelled" });
      expect(deps.models.calls).toHaveLength(1);
      await expectTrueCounts(db, conversation.id);
    });

    it("is answered where nothing is open, as any other, and stops no other conversation's", async () => {
      const { deps, call } = await given(1);
      const turn = await send(deps, await newConversation(db), "Me", { ifBusy: "interrupt" });
      (await deps.models.call(2)).end("You");
      expect(await wholeAnswer(deps, turn)).toMatchObject({ content: "You" });
      expect(call.signal.aborted).toBe(false);
    });

    it("stops nothing where it cannot begin itself: the conversation has ended, or its model is unknown", async () => {
      const { deps, conversation, call, stored } = await given(1);
      await db.update(db.tables.conversations).set({ status: "transferred", control: "agent" });
      const before = await stored();
      const interrupt = (model?: string) => send(deps, conversation, "Me", { ifBusy: "interrupt", model });
      await expect(interrupt()).rejects.toMatchObject({ code: "session_with_agent" });
      await expect(interrupt("gpt-17")).rejects.toMatchObject({ code: "validation_failed" });
      expect(await stored()).toEqual(before);
      expect(call.signal.aborted).toBe(false);
    });

    it("of several at the same moment leaves the last alone to be answered, each of the others ended once", async () => {
      const { deps, conversation, running } = await given(1);
      const all = await Promise.all(
        Array.from({ length: 6 }, (_, i) => send(deps, conversation, `Me ${i}`, { ifBusy: "interrupt" })),
      );
      const last = all.toSorted((a, b) => a.seq - b.seq).at(-1);
      const rows = () => turnsOf(db, conversation.id);
      await eventually(async () => {
        await heedCancellations(deps); // one may be stopped before this process has heard that it is stored
        expect((await rows()).filter(isOpen).map(({ id }) => id)).toEqual([last?.turnId]);
      });
      await eventually(async () => {
        deps.models.calls.at(-1)?.end("You");
        expect((await rows()).filter(isOpen)).toEqual([]);
      });
      for (const { id, error } of await rows()) expect(error).toEqual(id === last?.turnId ? null : cancelled);
      expect((await running.ended).turn).toMatchObject({ status: "incomplete" });
      await expectTrueCounts(db, conversation.id);
    });
  });

  it("in whatever way it is sent, from two instances at once: one turn runs at a time, every one ends, all counts are true", async () => {
    const random = randomFrom(11);
    const ways = ["queue", "queue", "reject", "interrupt"] as const satisfies IfBusy[];
    const models = testModels(async (call) => {
      await setImmediate();
      call.end(answerTo(call.question));
    });
    const instances = [startInstance(db, models), startInstance(other, models)] as const;
    const conversation = await newConversation(db);
    let done = false;
    const watch = (async () => {
      while (!done) {
        const running = (await turnsOf(db, conversation.id)).filter(({ status }) => status === "in_progress");
        expect(running.length).toBeLessThanOrEqual(1);
        for (const process of instances) await heedCancellations(process);
        await setImmediate();
      }
    })();
    const sent = await Promise.allSettled(
      Array.from({ length: 40 }, (_, i) =>
        send(pick(random, instances), conversation, `Question ${i}`, { ifBusy: pick(random, ways) }),
      ),
    );
    const begun = sent.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
    const ends = await Promise.all(begun.map((turn) => turn.ended));
    done = true;
    await watch;
    for (const one of sent) {
      if (one.status === "rejected") expect(["conversation_busy", "queue_full"]).toContain(one.reason.code);
    }
    const completed = ends.filter(({ turn }) => turn.status === "completed");
    expect(completed.length).toBeGreaterThan(0);
    for (const { turn } of ends) expect(["completed", "turn_cancelled"]).toContain(turn.error?.code ?? turn.status);
    expect((await turnsOf(db, conversation.id)).map(({ id }) => id).toSorted()).toEqual(
      begun.map(({ turnId }) => turnId).toSorted(),
    );
    expect((await conversation.read()).openTurns).toBe(0);
    await expectTrueCounts(db, conversation.id);
    const next = startInstance(db, answering());
    expect(await wholeAnswer(next, await send(next, conversation, "Free?"))).toMatchObject({
      content: expect.stringContaining("Free?"),
    });
  });
});
