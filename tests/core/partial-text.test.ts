import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { deleteConversation } from "../../src/core/conversation-deletion.ts";
import { wholeAnswer } from "../../src/core/follow.ts";
import { sweepTurns } from "../../src/core/recovery.ts";
import { saveText, startUpkeep } from "../../src/core/upkeep.ts";
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
import { databases, open } from "../support/databases.ts";

describe.each(databases)("the text of an answer that is being made, on $database,", ({ fresh }) => {
  let db: Db;
  beforeAll(async () => {
    db = await open(await fresh());
  });
  afterAll(() => db.close());

  /** A turn with so much said; `on` is its process's handle. */
  async function given(text: string, on: Db = db) {
    const deps = startInstance(on);
    const conversation = await newConversation(on);
    const turn = await send(deps, conversation, "Who are you?");
    const call = await deps.models.call(1);
    const say = async (more: string) => {
      const { length } = turn.progress.standing.text;
      call.say(more);
      await eventually(() => expect(turn.progress.standing.text).toHaveLength(length + more.length));
    };
    await say(text);
    const answer = async () => (await messagesOf(on, conversation.id)).find(({ id }) => id === turn.answerId);
    return { deps, conversation, turn, call, say, answer };
  }

  it("is stored as it stands, emoji and all, and takes no rev", async () => {
    const { deps, conversation, turn, say, answer } = await given("I'm 👩‍👩‍👧");
    const before = await conversation.read();
    await saveText(deps);
    expect(await answer()).toMatchObject({ content: "I'm 👩‍👩‍👧", status: "in_progress", rev: 2 });
    await say(" of 🇩🇪");
    await saveText(deps);
    expect(await answer()).toMatchObject({ content: "I'm 👩‍👩‍👧 of 🇩🇪" });
    expect(await conversation.read()).toEqual(before);
    expect(await turnRow(db, turn)).toMatchObject({ status: "in_progress", restarts: 0 });
  });

  it("is written only when it has grown, and only by the process that runs it", async () => {
    let batches = 0;
    const counting: Db = {
      ...db,
      batch(steps) {
        batches++;
        return db.batch(steps);
      },
    };
    const { deps, say } = await given("Well", counting);
    const during = async (work: () => Promise<void>) => {
      const before = batches;
      await work();
      return batches - before;
    };
    expect(await during(() => saveText(deps))).toBe(1);
    expect(await during(() => saveText(deps))).toBe(0);
    expect(await during(() => saveText(startInstance(counting)))).toBe(0);
    await say(", now");
    expect(await during(() => saveText(deps))).toBe(1);
  });

  it("is stored with the number of its restarts, in one commit, also where the new beginning is as long as the old", async () => {
    const { deps, turn, call, say, answer } = await given("One");
    await saveText(deps);
    call.restart("stream_cut");
    await eventually(() => expect(turn.progress.standing.n).toBe(1));
    await say("Two");
    await saveText(deps);
    expect(await answer()).toMatchObject({ content: "Two" });
    expect(await turnRow(db, turn)).toMatchObject({ restarts: 1, status: "in_progress" });
    call.restart("stream_cut");
    await eventually(() => expect(turn.progress.standing.n).toBe(2));
    await saveText(deps);
    expect(await answer()).toMatchObject({ content: "" });
    expect(await turnRow(db, turn)).toMatchObject({ restarts: 2 });
  });

  it("is never written over an answer that has ended meanwhile", async () => {
    const late = Promise.withResolvers<void>();
    const slow: Db = {
      ...db,
      async batch(steps) {
        await late.promise;
        return db.batch(steps);
      },
    };
    const { deps, conversation, turn, call, answer } = await given("Half");
    const saving = saveText({ ...deps, db: slow });
    call.end(" whole");
    expect(await wholeAnswer(deps, turn)).toMatchObject({ content: "Half whole" });
    const before = [await answer(), await turnRow(db, turn), await conversation.read()];
    late.resolve();
    await saving;
    expect([await answer(), await turnRow(db, turn), await conversation.read()]).toEqual(before);
    expect(before[0]).toMatchObject({ content: "Half whole", status: "completed" });
  });

  it("is not kept back by another turn's that cannot be stored, which is told of in the log and tried again", async () => {
    const first = await given("One");
    const second = await send(first.deps, await newConversation(db), "And you?");
    (await first.deps.models.call(2)).say("Two");
    await eventually(() => expect(second.progress.standing.text).toBe("Two"));
    let refused = 1;
    const full: Db = {
      ...db,
      batch: (steps) => (refused-- > 0 ? Promise.reject(new Error("disk full")) : db.batch(steps)),
    };
    await saveText({ ...first.deps, db: full });
    const stored = async () =>
      [await first.answer(), (await messagesOf(db, second.conversationId))[1]].map((row) => row?.content);
    expect((await stored()).toSorted()).toEqual(["", "Two"]);
    expect(first.deps.logged).toEqual([{ err: new Error("disk full"), turn_id: first.turn.turnId }]);
    expect(first.call.signal.aborted).toBe(false);
    await saveText(first.deps);
    expect(await stored()).toEqual(["One", "Two"]);
  });

  it("stops its provider where somebody else has ended the turn", async () => {
    const { deps, conversation, turn, call } = await given("Half");
    await deleteConversation(db, conversation.owner, { id: conversation.id, now: NOW });
    await saveText(deps);
    expect(call.signal.aborted).toBe(true);
    expect((await turn.ended).turn).toMatchObject({ status: "failed", error: { code: "turn_cancelled" } });
    expect(await messagesOf(db, conversation.id)).toEqual([]);
  });

  it("is what a swept turn keeps, as a beginning of its own; its late process changes nothing and is stopped", async () => {
    const own = await openForTest(await fresh());
    const { deps, conversation, turn, call, say, answer } = await given("Half", own);
    call.restart();
    await eventually(() => expect(turn.progress.standing.n).toBe(1));
    await say("Half an");
    await saveText(deps);
    await say(" answer that only its process knows");
    await lapse(own, turn);
    const next = startInstance(own, answering());
    await sweepTurns(next);
    expect(await answer()).toMatchObject({ content: "Half an", status: "incomplete" });
    expect(await turnRow(own, turn)).toMatchObject({ status: "incomplete", restarts: 2 });
    await saveText(deps);
    expect(call.signal.aborted).toBe(true);
    expect(await turn.ended).toMatchObject({ content: "Half an", turn: { status: "incomplete", restarts: 2 } });
    expect(await answer()).toMatchObject({ content: "Half an" });
    await expectTrueCounts(own, conversation.id);
    expect(await wholeAnswer(next, await send(next, conversation, "Go on"))).toMatchObject({
      content: "Answer to Go on",
    });
    expect(next.models.calls[0]?.messages.map(({ content }) => content)).toEqual(["Who are you?", "Half an", "Go on"]);
  });

  it("is stored at most half a second after it came, by itself, until the upkeep is stopped", async () => {
    const own = await openForTest(await fresh());
    const { deps, say, answer } = await given("Well", own);
    const stop = await startUpkeep(deps);
    try {
      await eventually(async () => expect(await answer()).toMatchObject({ content: "Well" }));
      await say(", now");
      await eventually(async () => expect(await answer()).toMatchObject({ content: "Well, now" }));
    } finally {
      stop();
    }
  });
});
