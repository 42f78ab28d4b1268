import { describe, expect, it } from "vitest";
import { listAlternatives, regenerate } from "../../src/core/answers.ts";
import { cancelTurn } from "../../src/core/cancel.ts";
import { deleteConversation } from "../../src/core/conversation-deletion.ts";
import { wholeAnswer } from "../../src/core/follow.ts";
import { newId } from "../../src/core/id.ts";
import type { Actor } from "../../src/core/identity.ts";
import type { LiveTurn, TurnDeps } from "../../src/core/live.ts";
import { sweepTurns } from "../../src/core/recovery.ts";
import { saveText } from "../../src/core/upkeep.ts";
import type { Db } from "../../src/db/db.ts";
import {
  as,
  change,
  expectTrueCounts,
  type Instance,
  lapse,
  messagesOf,
  NOW,
  newConversation,
  newUser,
  openForTest,
  ours,
  send,
  startInstance,
  turnRow,
  turnsOf,
} from "../support/core-instance.ts";
import { answering, answerTo, eventually, testModels } from "../support/core-models.ts";
import { listMessages } from "../support/core-pages.ts";
import { databases } from "../support/databases.ts";
import { openBoth } from "../support/db-handles.ts";

const notFound = expect.objectContaining({ code: "not_found" });
const notLatest = expect.objectContaining({ code: "not_latest" });

describe.each(databases)("an answer that is made anew on $database", ({ fresh }) => {
  let db: Db;
  let other: Db;
  openBoth(fresh, (handles) => ({ db, other } = handles));

  type Conversation = Awaited<ReturnType<typeof newConversation>>;
  type Answer = { answerId: string };

  /** A conversation whose last question has been answered, or has failed, as `behave` says. */
  async function given({ questions = ["Who are you?"], on = db } = {}) {
    const deps = startInstance(on);
    const conversation = await newConversation(on);
    const turns: LiveTurn[] = [];
    for (const [i, question] of questions.entries()) {
      const turn = await send(deps, conversation, question);
      (await deps.models.call(i + 1)).end(`Answer ${i + 1}`);
      await turn.ended;
      turns.push(turn);
    }
    return { deps, conversation, turns, first: turns[0] as LiveTurn, newest: turns.at(-1) as LiveTurn };
  }

  const again = async (deps: TurnDeps, { owner }: { owner: Actor }, { answerId }: Answer, model?: string) =>
    ours(await regenerate(deps, owner, { messageId: answerId, model, key: null }));

  /** Regenerates, and ends the new answer so. */
  async function remade(deps: Instance, conversation: Conversation, old: Answer, content: string) {
    const nth = deps.models.calls.length + 1;
    const turn = await again(deps, conversation, old);
    (await deps.models.call(nth)).end(content);
    await eventually(() => expect(deps.live.turns.size).toBe(0));
    return turn;
  }

  const listed = async ({ owner, id }: Conversation, on = db) =>
    (await listMessages(on, owner, { conversationId: id, limit: 50 })).rows.map(({ content }) => content);

  const others = async ({ owner }: Conversation, { answerId }: Answer, on = db) =>
    (await Array.fromAsync(await listAlternatives(on, owner, answerId))).flat().map(({ content }) => content);

  it("takes the old one's place once it is whole, and not before; the old one is kept as superseded", async () => {
    const { deps, conversation, newest: old } = await given({ questions: ["Hello", "Who are you?"] });
    deps.time.now = NOW + 50;
    const turn = await again(deps, conversation, old);
    const call = await deps.models.call(3);
    call.say("Some");
    await eventually(() => expect(turn.progress.standing.text).toBe("Some"));
    await saveText(deps);
    expect(await listed(conversation)).toEqual(["Hello", "Answer 1", "Who are you?", "Answer 2"]);
    expect(await conversation.read()).toMatchObject({ messageCount: 4, openTurns: 1, lastMessage: "Answer 2" });
    call.end("body");
    expect(await wholeAnswer(deps, turn)).toMatchObject({ content: "Somebody" });
    expect(await listed(conversation)).toEqual(["Hello", "Answer 1", "Who are you?", "Somebody"]);
    expect(turn).toMatchObject({ questionId: old.questionId, conversationId: conversation.id });
    expect(turn.answerId).not.toBe(old.answerId);
    const stored = await messagesOf(db, conversation.id);
    expect(stored.find(({ id }) => id === old.answerId)).toMatchObject({
      content: "Answer 2",
      status: "completed",
      supersededAt: NOW + 50,
    });
    const row = await conversation.read();
    expect(row).toMatchObject({ messageCount: 4, openTurns: 0, lastMessage: "Somebody", updatedAt: NOW + 50 });
    expect(Math.max(...stored.map(({ rev }) => rev))).toBe(row.rev);
    await expectTrueCounts(db, conversation.id);
  });

  it("is asked for with the question and what stood before it: never an answer to it, nor what was superseded", async () => {
    const { deps, conversation, newest } = await given({ questions: ["Hello", "Who are you?"] });
    const second = await remade(deps, conversation, newest, "Second");
    const third = await remade(deps, conversation, second, "Third");
    const shown = [
      { role: "user", content: "Hello" },
      { role: "assistant", content: "Answer 1" },
      { role: "user", content: "Who are you?" },
    ];
    for (const call of deps.models.calls.slice(2)) expect(call.messages).toEqual(shown);
    expect(third.questionId).toBe(newest.questionId);
    await send(deps, conversation, "And now?");
    expect((await deps.models.call(5)).messages).toEqual([
      ...shown,
      { role: "assistant", content: "Third" },
      { role: "user", content: "And now?" },
    ]);
  });

  it("is asked of the model that the old one was asked of, or of one that is named", async () => {
    const { deps, conversation, newest } = await given();
    const named = await again(deps, conversation, newest, "other");
    (await deps.models.call(2)).end("Other");
    await wholeAnswer(deps, named);
    const unnamed = await again(deps, conversation, named);
    (await deps.models.call(3)).end("Once more");
    await wholeAnswer(deps, unnamed);
    expect(deps.models.calls.map(({ plan }) => plan.model)).toEqual(["balanced", "other", "other"]);
    await expect(again(deps, conversation, unnamed, "gpt-17")).rejects.toMatchObject({ code: "validation_failed" });
  });

  it("has the others beside it, oldest first, whichever of them is asked about", async () => {
    const { deps, conversation, newest } = await given();
    const second = await remade(deps, conversation, newest, "Second");
    const third = await remade(deps, conversation, second, "Third");
    expect(await others(conversation, third)).toEqual(["Answer 1", "Second"]);
    expect(await others(conversation, newest)).toEqual(["Second", "Third"]);
    expect(await others(conversation, { answerId: third.questionId })).toEqual([]);
    expect(await turnsOf(db, conversation.id)).toHaveLength(3);
    await expectTrueCounts(db, conversation.id);
  });

  it("stands beside those that were made in one go", async () => {
    const answers = ["One", "Two", "Three"];
    const deps = startInstance(
      db,
      testModels((call) => call.end(answers.shift() ?? "Anew")),
    );
    const conversation = await newConversation(db);
    const turn = await send(deps, conversation, "Which?", { wanted: 3 });
    await turn.ended;
    expect((await others(conversation, turn)).toSorted()).toEqual(["Three", "Two"]);
    const anew = await again(deps, conversation, turn);
    await wholeAnswer(deps, anew);
    expect((await others(conversation, anew)).toSorted()).toEqual(["One", "Three", "Two"]);
    expect(await listed(conversation)).toEqual(["Which?", "Anew"]);
    await expectTrueCounts(db, conversation.id);
  });

  it("is seen, made and listed only by who may see its conversation, and not once that is deleted", async () => {
    const { deps, conversation, newest } = await given();
    for (const owner of [newUser(), as("agent", "eve"), as("admin", "root", "mallory")]) {
      await expect(again(deps, { owner }, newest)).rejects.toEqual(notFound);
      await expect(listAlternatives(db, owner, newest.answerId)).rejects.toEqual(notFound);
    }
    await expect(again(deps, conversation, { answerId: newId() })).rejects.toEqual(notFound);
    expect(await turnsOf(db, conversation.id)).toHaveLength(1);
    const { owner, id } = conversation;
    await deleteConversation(db, owner, { id, now: NOW });
    await expect(again(deps, conversation, newest)).rejects.toEqual(notFound);
    expect(deps.models.calls).toHaveLength(1);
  });

  describe("and fails", () => {
    it.each([
      ["without a word", ""],
      ["with half a text", "Half"],
    ])("%s leaves the old one standing", async (_, text) => {
      const { deps, conversation, newest } = await given();
      const before = await conversation.read();
      const turn = await again(deps, conversation, newest);
      const call = await deps.models.call(2);
      if (text) call.say(text);
      call.fail("provider_timeout");
      await expect(wholeAnswer(deps, turn)).rejects.toMatchObject({ code: "provider_timeout" });
      expect(await listed(conversation)).toEqual(["Who are you?", "Answer 1"]);
      const { messageCount, lastMessage, openTurns, title } = before;
      expect(await conversation.read()).toMatchObject({ messageCount, lastMessage, openTurns, title });
      expect(await turnRow(db, turn)).toMatchObject({ status: text ? "incomplete" : "failed" });
      expect(await others(conversation, newest)).toEqual(text ? ["Half"] : []);
      await expectTrueCounts(db, conversation.id);
      await send(deps, conversation, "And now?");
      expect((await deps.models.call(3)).messages.map(({ content }) => content)).toEqual([
        "Who are you?",
        "Answer 1",
        "And now?",
      ]);
    });

    it("by being cancelled, or lost with its process, does the same; and the old one can be made anew again", async () => {
      const own = await openForTest(await fresh());
      const { deps, conversation, newest } = await given({ on: own });
      for (const nth of [2, 3]) {
        const turn = await again(deps, conversation, newest);
        const call = await deps.models.call(nth);
        call.say("Half");
        await eventually(() => expect(turn.progress.standing.text).toBe("Half"));
        await saveText(deps);
        if (nth === 2) await cancelTurn(deps, conversation.owner, turn.turnId);
        else await lapse(own, turn);
        await sweepTurns(startInstance(own));
        expect(await turnRow(own, turn)).toMatchObject({ status: "incomplete" });
        await saveText(deps);
        call.end();
        await turn.ended;
        expect(await listed(conversation, own)).toEqual(["Who are you?", "Answer 1"]);
        expect(await conversation.read()).toMatchObject({ lastMessage: "Answer 1", openTurns: 0 });
        await expectTrueCounts(own, conversation.id);
      }
      await remade(deps, conversation, newest, "At last");
      expect(await listed(conversation, own)).toEqual(["Who are you?", "At last"]);
      await expectTrueCounts(own, conversation.id);
    });
  });

  describe("of a question that has failed", () => {
    /** A question whose answer failed, with this text kept. */
    async function givenFailed(text: string) {
      const deps = startInstance(db);
      const conversation = await newConversation(db);
      const failed = await send(deps, conversation, "Who are you?");
      const call = await deps.models.call(1);
      if (text) call.say(text);
      call.fail("provider_failed");
      await failed.ended;
      return { deps, conversation, failed };
    }

    it.each(["", "Half"])("is the answer from then on, where '%s' was kept", async (text) => {
      const { deps, conversation, failed } = await givenFailed(text);
      deps.time.now = NOW + 9;
      await remade(deps, conversation, failed, "Me");
      expect(await listed(conversation)).toEqual(["Who are you?", "Me"]);
      expect(await conversation.read()).toMatchObject({ messageCount: 2, lastMessage: "Me", updatedAt: NOW + 9 });
      await expectTrueCounts(db, conversation.id);
    });

    it("and fails too, with a text, stands with that where nothing else does", async () => {
      const { deps, conversation, failed } = await givenFailed("");
      deps.time.now = NOW + 9;
      const turn = await again(deps, conversation, failed);
      const call = await deps.models.call(2);
      call.say("Half");
      call.fail("provider_failed");
      await turn.ended;
      expect(await listed(conversation)).toEqual(["Who are you?", "Half"]);
      expect(await conversation.read()).toMatchObject({ messageCount: 2, lastMessage: "Half", updatedAt: NOW + 9 });
      await expectTrueCounts(db, conversation.id);
      await remade(deps, conversation, turn, "Whole");
      expect(await listed(conversation)).toEqual(["Who are you?", "Whole"]);
      await expectTrueCounts(db, conversation.id);
    });
  });

  describe("is refused, and nothing is stored,", () => {
    async function expectRefused(conversation: Conversation, work: () => Promise<unknown>, error: unknown) {
      const stored = async () => [
        await conversation.read(),
        await messagesOf(db, conversation.id),
        await turnsOf(db, conversation.id),
      ];
      const before = await stored();
      await expect(work()).rejects.toEqual(error);
      expect(await stored()).toEqual(before);
    }

    it("where it is no answer, an older one, or one that was superseded", async () => {
      const { deps, conversation, first, newest } = await given({ questions: ["One", "Two"] });
      await remade(deps, conversation, newest, "Anew");
      for (const answerId of [newest.questionId, first.answerId, newest.answerId]) {
        await expectRefused(conversation, () => again(deps, conversation, { answerId }), notLatest);
      }
    });

    it("where a newer question waits or has been asked since, though that one failed", async () => {
      const { deps, conversation, newest } = await given();
      const next = await send(deps, conversation, "Two");
      await expectRefused(conversation, () => again(deps, conversation, newest), notLatest);
      (await deps.models.call(2)).fail("provider_failed");
      await next.ended;
      await expectRefused(conversation, () => again(deps, conversation, newest), notLatest);
    });

    it("where it is still being made, with the turn that makes it", async () => {
      const { deps, conversation, newest } = await given();
      const busy = (turn: LiveTurn) =>
        expect.objectContaining({
          code: "conversation_busy",
          details: expect.objectContaining({ turnId: turn.turnId }),
        });
      const running = await again(deps, conversation, newest);
      await expectRefused(conversation, () => again(deps, conversation, running), busy(running));
      const queued = await send(deps, conversation, "Two");
      await expectRefused(conversation, () => again(deps, conversation, queued), busy(queued));
    });

    it("where the assistant may answer no more", async () => {
      const { deps, conversation, newest } = await given();
      await change(db, conversation.id, { status: "transferred", control: "agent" });
      const withAgent = expect.objectContaining({ code: "session_with_agent" });
      await expectRefused(conversation, () => again(deps, conversation, newest), withAgent);
      await change(db, conversation.id, { status: "ended", endedAt: NOW });
      const ended = expect.objectContaining({ code: "session_ended" });
      await expectRefused(conversation, () => again(deps, conversation, newest), ended);
    });

    it("to all but one of several at the same moment, from two instances", async () => {
      const { conversation, newest } = await given();
      const models = testModels();
      const instances = [startInstance(db, models), startInstance(other, models)] as const;
      const all = await Promise.allSettled(
        Array.from({ length: 8 }, (_, i) => again(instances[i % 2 === 0 ? 0 : 1], conversation, newest)),
      );
      const begun = all.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
      expect(begun).toHaveLength(1);
      for (const one of all) if (one.status === "rejected") expect(one.reason).toEqual(notLatest);
      expect(await turnsOf(db, conversation.id)).toHaveLength(2);
      await expectTrueCounts(db, conversation.id);
    });
  });

  it("with a key is made once, given again, and made anew where it failed", async () => {
    const { deps, conversation, newest } = await given();
    const key = { key: newId(), requestHash: "this request" };
    const ask = (process: TurnDeps, messageId = newest.answerId) =>
      regenerate(process, conversation.owner, { messageId, model: undefined, key });
    const failed = ours(await ask(deps));
    expect((await ask(startInstance(other))).turnId).toBe(failed.turnId);
    (await deps.models.call(2)).fail("provider_failed");
    await failed.ended;
    const retried = ours(await ask(deps));
    expect(retried.turnId).not.toBe(failed.turnId);
    (await deps.models.call(3)).end("Anew");
    const answer = await wholeAnswer(deps, retried);
    const later = startInstance(other, answering());
    expect(await wholeAnswer(later, await ask(later))).toEqual(answer);
    await expect(
      regenerate(later, conversation.owner, {
        messageId: retried.answerId,
        model: undefined,
        key: { ...key, requestHash: "another" },
      }),
    ).rejects.toMatchObject({ code: "idempotency_mismatch" });
    expect([deps.models.calls.length, later.models.calls.length]).toEqual([3, 0]);
    expect(await listed(conversation)).toEqual(["Who are you?", "Anew"]);
    await expectTrueCounts(db, conversation.id);
  });

  it("waits in line while another turn is open, and what is asked behind it is answered after it", async () => {
    const { deps, conversation, newest } = await given();
    const anew = await again(deps, conversation, newest);
    const behind = await send(deps, conversation, "Two");
    expect(await turnRow(db, behind)).toMatchObject({ status: "queued" });
    (await deps.models.call(2)).end("Anew");
    await anew.ended;
    const call = await deps.models.call(3);
    expect(call.messages.map(({ content }) => content)).toEqual(["Who are you?", "Anew", "Two"]);
    call.end(answerTo("Two"));
    await behind.ended;
    expect(await listed(conversation)).toEqual(["Who are you?", "Anew", "Two", answerTo("Two")]);
    expect(await conversation.read()).toMatchObject({ lastMessage: answerTo("Two") });
    await expectTrueCounts(db, conversation.id);
  });
});
