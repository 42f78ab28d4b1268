import { describe, expect, it } from "vitest";
import { cancelTurn } from "../../src/core/cancel.ts";
import { wholeAnswer } from "../../src/core/follow.ts";
import { newId } from "../../src/core/id.ts";
import { sweepTurns } from "../../src/core/recovery.ts";
import { heedCancellations, saveText } from "../../src/core/upkeep.ts";
import type { Db } from "../../src/db/db.ts";
import {
  as,
  expectTrueCounts,
  lapse,
  messagesOf,
  NOW,
  newConversation,
  newUser,
  openForTest,
  send,
  startInstance,
  turnRow,
} from "../support/core-instance.ts";
import { eventually } from "../support/core-models.ts";
import { databases } from "../support/databases.ts";
import { openBoth } from "../support/db-handles.ts";

const cancelled = { code: "turn_cancelled", detail: expect.any(String) };
const notFound = expect.objectContaining({ code: "not_found" });

describe.each(databases)("cancelling a turn on $database", ({ fresh }) => {
  let db: Db;
  let other: Db;
  openBoth(fresh, (handles) => ({ db, other } = handles));

  /** A running turn, and so many in line behind it. */
  async function given(waiting: number, on: Db = db) {
    const deps = startInstance(on);
    const conversation = await newConversation(on);
    const running = await send(deps, conversation, "Question 0");
    const call = await deps.models.call(1);
    const line = [];
    for (let i = 1; i <= waiting; i++) line.push(await send(deps, conversation, `Question ${i}`));
    const say = async (text: string) => {
      call.say(text);
      await eventually(() => expect(running.progress.standing.text).toContain(text));
    };
    return { deps, conversation, owner: conversation.owner, running, call, line, say };
  }

  describe("that runs", () => {
    it("closes its provider, keeps its text as incomplete, and gives the turn as it ended", async () => {
      const { deps, conversation, owner, running, call, say } = await given(0);
      await say("Half an");
      deps.time.now = NOW + 40;
      const turn = await cancelTurn(deps, owner, running.turnId);
      expect(call.signal.aborted).toBe(true);
      expect(turn).toMatchObject({
        id: running.turnId,
        conversationId: conversation.id,
        status: "incomplete",
        error: cancelled,
        finishReason: null,
        completedAt: NOW + 40,
      });
      expect(await turnRow(db, running)).toMatchObject({ status: "incomplete", error: cancelled, leaseUntil: null });
      expect((await messagesOf(db, conversation.id))[1]).toMatchObject({ status: "incomplete", content: "Half an" });
      expect(await conversation.read()).toMatchObject({ openTurns: 0, messageCount: 2, lastMessage: "Half an" });
      await expectTrueCounts(db, conversation.id);
    });

    it("fails it where nothing was said, and its question stands", async () => {
      const { deps, conversation, owner, running, call } = await given(0);
      expect(await cancelTurn(deps, owner, running.turnId)).toMatchObject({ status: "failed", error: cancelled });
      expect(call.signal.aborted).toBe(true);
      expect((await messagesOf(db, conversation.id)).map(({ content, status }) => [content, status])).toEqual([
        ["Question 0", "completed"],
        ["", "failed"],
      ]);
      await expectTrueCounts(db, conversation.id);
    });

    it("tells whoever waits for the answer that it was cancelled", async () => {
      const { deps, owner, running, say } = await given(0);
      await say("Half");
      const waiting = wholeAnswer(deps, running).catch((error: unknown) => error);
      await cancelTurn(deps, owner, running.turnId);
      expect(await waiting).toMatchObject({ code: "turn_cancelled", details: { turnId: running.turnId } });
    });

    it("lets the next in line go on, and none of the others is touched", async () => {
      const { deps, conversation, owner, running, line } = await given(2);
      await cancelTurn(deps, owner, running.turnId);
      for (const [i, turn] of line.entries()) {
        const call = await deps.models.call(i + 2);
        expect(call.signal.aborted).toBe(false);
        call.end(`Answer ${i + 1}`);
        expect(await wholeAnswer(deps, turn)).toMatchObject({ content: `Answer ${i + 1}` });
      }
      await expectTrueCounts(db, conversation.id);
    });

    it("is done once: of two at the same moment one ends it or both do, and later there is nothing to cancel", async () => {
      const { deps, conversation, owner, running, say } = await given(0);
      await say("Half");
      const both = await Promise.allSettled([1, 2].map(() => cancelTurn(deps, owner, running.turnId)));
      const ended = { status: "fulfilled", value: expect.objectContaining({ status: "incomplete", error: cancelled }) };
      const late = { status: "rejected", reason: expect.objectContaining({ code: "turn_finished" }) };
      expect(both).toContainEqual(ended);
      for (const one of both) expect([ended, late]).toContainEqual(one);
      await expect(cancelTurn(deps, owner, running.turnId)).rejects.toMatchObject({
        code: "turn_finished",
        details: { turnId: running.turnId },
      });
      await expectTrueCounts(db, conversation.id);
    });
  });

  describe("that waits in line", () => {
    it("takes it out of line at once: it never reaches a provider, the others keep their order", async () => {
      const { deps, conversation, owner, running, call, line } = await given(3);
      const [, gone] = line as [unknown, (typeof line)[number]];
      expect(await cancelTurn(deps, owner, gone.turnId)).toMatchObject({ status: "failed", error: cancelled });
      expect(await conversation.read()).toMatchObject({ openTurns: 3 });
      expect(call.signal.aborted).toBe(false);
      expect((await gone.ended).turn).toMatchObject({ status: "failed", error: cancelled, completedAt: NOW });
      call.end("Answer 0");
      await running.ended;
      for (const nth of [2, 3]) (await deps.models.call(nth)).end("And so on");
      for (const turn of line) await turn.ended;
      expect(deps.models.calls.map(({ question }) => question)).toEqual([
        "Question 0",
        "Question 1",
        "Question 2\n\nQuestion 3",
      ]);
      expect((await messagesOf(db, conversation.id)).find(({ id }) => id === gone.answerId)).toMatchObject({
        status: "failed",
        content: "",
      });
      await expectTrueCounts(db, conversation.id);
    });

    it("right behind the one that runs lets the one behind it have the slot", async () => {
      const { deps, conversation, owner, running, call, line } = await given(2);
      const [gone, last] = line as [(typeof line)[number], (typeof line)[number]];
      await cancelTurn(deps, owner, gone.turnId);
      call.end("Answer 0");
      await running.ended;
      (await deps.models.call(2)).end("Answer 2");
      expect(await wholeAnswer(deps, last)).toMatchObject({ content: "Answer 2" });
      expect(await conversation.read()).toMatchObject({ openTurns: 0 });
      await expectTrueCounts(db, conversation.id);
    });

    it("is done for all of them, one after the other", async () => {
      const { deps, conversation, owner, line, call } = await given(5);
      await Promise.all(line.map((turn) => cancelTurn(deps, owner, turn.turnId)));
      for (const turn of line) {
        await expect(cancelTurn(deps, owner, turn.turnId)).rejects.toMatchObject({ code: "turn_finished" });
      }
      expect(await conversation.read()).toMatchObject({ openTurns: 1 });
      call.end("Answer 0");
      await eventually(() => expect(deps.live.turns.size).toBe(0));
      expect(deps.models.calls).toHaveLength(1);
      await expectTrueCounts(db, conversation.id);
    });
  });

  describe("of another instance", () => {
    it("is a mark that its owner heeds, text kept; the caller is given the turn as it ended", async () => {
      const { deps, conversation, owner, running, call, say } = await given(0);
      await say("Half");
      const bystander = await send(deps, await newConversation(db), "Not me");
      const elsewhere = startInstance(other);
      const cancelling = cancelTurn(elsewhere, owner, running.turnId);
      await eventually(async () => expect((await turnRow(db, running)).cancelRequestedAt).toBe(NOW));
      expect(call.signal.aborted).toBe(false);
      await heedCancellations(elsewhere); // not its to stop
      await heedCancellations(deps);
      expect(call.signal.aborted).toBe(true);
      expect(await cancelling).toMatchObject({ status: "incomplete", error: cancelled });
      expect((await messagesOf(db, conversation.id))[1]).toMatchObject({ content: "Half", status: "incomplete" });
      expect((await deps.models.call(2)).signal.aborted).toBe(false);
      expect(await turnRow(db, bystander)).toMatchObject({ status: "in_progress" });
      await expectTrueCounts(db, conversation.id);
    });

    it("takes one in line out of it at once, and its owner hears of it", async () => {
      const { deps, conversation, owner, call, line } = await given(2);
      const [gone, last] = line as [(typeof line)[number], (typeof line)[number]];
      const turn = await cancelTurn(startInstance(other), owner, gone.turnId);
      expect(turn).toMatchObject({ status: "failed", error: cancelled });
      expect(await conversation.read()).toMatchObject({ openTurns: 2 });
      call.end("Answer 0");
      (await deps.models.call(2)).end("Answer 2");
      expect(await wholeAnswer(deps, last)).toMatchObject({ content: "Answer 2" });
      await expect(wholeAnswer(deps, gone)).rejects.toMatchObject({ code: "turn_cancelled" });
      await expectTrueCounts(db, conversation.id);
    });

    it("that is dead stays cancelled when it is swept", async () => {
      const own = await openForTest(await fresh());
      const { deps, conversation, owner, running, say } = await given(0, own);
      await say("Half");
      await saveText(deps);
      const next = startInstance(own);
      const cancelling = cancelTurn(next, owner, running.turnId);
      await eventually(async () => expect((await turnRow(own, running)).cancelRequestedAt).toBe(NOW));
      await lapse(own, running);
      await sweepTurns(next);
      expect(await cancelling).toMatchObject({ status: "incomplete", error: cancelled });
      await expectTrueCounts(own, conversation.id);
    });
  });

  describe("changes nothing and says so", () => {
    it("where it has ended", async () => {
      const { deps, conversation, owner, running, call } = await given(0);
      call.end("Answer 0");
      await running.ended;
      const before = [await turnRow(db, running), await conversation.read()];
      await expect(cancelTurn(deps, owner, running.turnId)).rejects.toMatchObject({ code: "turn_finished" });
      expect((await turnRow(db, running)).cancelRequestedAt).toBeNull();
      expect(await turnRow(db, running)).toEqual(before[0]);
      expect(await conversation.read()).toMatchObject({ openTurns: 0, messageCount: 2, lastMessage: "Answer 0" });
    });

    it("where it is somebody else's, of a deleted conversation, or never was", async () => {
      const { deps, running, call } = await given(0);
      for (const actor of [newUser(), as("agent", "eve"), as("admin", "root", "mallory")]) {
        await expect(cancelTurn(deps, actor, running.turnId)).rejects.toEqual(notFound);
      }
      await expect(cancelTurn(deps, as("admin", "root"), newId())).rejects.toEqual(notFound);
      expect(call.signal.aborted).toBe(false);
      expect(await turnRow(db, running)).toMatchObject({ status: "in_progress", cancelRequestedAt: null });
      expect(await cancelTurn(deps, as("admin", "root"), running.turnId)).toMatchObject({ error: cancelled });
    });
  });
});
