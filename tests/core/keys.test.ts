import { eq } from "drizzle-orm";
import { describe, expect, it } from "vitest";
import { cancelTurn } from "../../src/core/cancel.ts";
import { deleteConversation } from "../../src/core/conversation-deletion.ts";
import { createConversation, getConversation } from "../../src/core/conversations.ts";
import { wholeAnswer } from "../../src/core/follow.ts";
import type { Actor } from "../../src/core/identity.ts";
import type { RequestKey } from "../../src/core/keys.ts";
import { drainTurns } from "../../src/core/launch.ts";
import type { TurnDeps } from "../../src/core/live.ts";
import { sweepTurns } from "../../src/core/recovery.ts";
import { beginTurn, type Question } from "../../src/core/turns.ts";
import { forgetKeys, renewLeases } from "../../src/core/upkeep.ts";
import type { Db } from "../../src/db/db.ts";
import type { Conversation } from "../../src/db/tables.ts";
import {
  as,
  expectTrueCounts,
  lapse,
  messagesOf,
  NOW,
  newConversation,
  newUser,
  openForTest,
  ours,
  startInstance,
  turnRow,
  turnsOf,
} from "../support/core-instance.ts";
import { answering, answerTo, testModels } from "../support/core-models.ts";
import { databases } from "../support/databases.ts";
import { openBoth } from "../support/db-handles.ts";

const DAY = 24 * 60 * 60 * 1000;

let keys = 0;
const newKey = (requestHash = "this request"): RequestKey => ({ key: `key-${++keys}`, requestHash });

/** Waits beside a process that renews its leases all the time. */
async function renewingUntil<R>(deps: TurnDeps, work: Promise<R>): Promise<R> {
  let isOver = false;
  const over = () => {
    isOver = true;
  };
  work.then(over, over);
  while (!isOver) {
    await renewLeases(deps);
    await new Promise(setImmediate);
  }
  return work;
}

describe.each(databases)("an idempotency key on $database", ({ fresh }) => {
  let db: Db;
  let other: Db;
  openBoth(fresh, (handles) => ({ db, other } = handles));

  type To = { owner: Actor; id: string | null };

  /** The same request, again and again: a question with its key. */
  const ask = (deps: TurnDeps, to: To, key: RequestKey, set: Partial<Question> = {}) =>
    beginTurn(deps, to.owner, { conversationId: to.id, content: "Who are you?", model: undefined, key, ...set });

  async function given(on: Db = db) {
    const conversation = await newConversation(on);
    const shown = async () => (await messagesOf(on, conversation.id)).map(({ content }) => content);
    return { deps: startInstance(on), conversation, key: newKey(), shown };
  }

  describe("whose turn runs", () => {
    it("gives that turn again, to as many as ask, here and elsewhere; the provider is called once", async () => {
      const { deps, conversation, key, shown } = await given();
      const turn = ours(await ask(deps, conversation, key));
      const elsewhere = startInstance(other);
      const asked = Promise.all([deps, deps, elsewhere].map((process) => ask(process, conversation, key)));
      const others = await renewingUntil(deps, asked); // elsewhere nobody knows that it lives before it says so
      for (const one of others) {
        const { turnId, conversationId, questionId, answerId, model } = turn;
        expect(one).toMatchObject({ turnId, conversationId, questionId, answerId, model });
      }
      const waiting = [deps, deps, elsewhere].map((process, i) => wholeAnswer(process, others[i] ?? turn));
      (await deps.models.call(1)).end("Me");
      for (const answer of await Promise.all(waiting)) expect(answer).toMatchObject({ content: "Me" });
      expect(deps.models.calls).toHaveLength(1);
      expect(elsewhere.models.calls).toEqual([]);
      expect(await shown()).toEqual(["Who are you?", "Me"]);
      await expectTrueCounts(db, conversation.id);
    });

    it("gives it again though it waits in line, and though the request says interrupt or reject", async () => {
      const { deps, conversation } = await given();
      const running = newKey();
      const first = ours(await ask(deps, conversation, running, { ifBusy: "interrupt" }));
      const { signal } = await deps.models.call(1);
      expect(await ask(deps, conversation, running, { ifBusy: "interrupt" })).toBe(first);
      expect(await ask(deps, conversation, running, { ifBusy: "reject" })).toBe(first);
      expect(signal.aborted).toBe(false);
      const inLine = newKey();
      const second = ours(await ask(deps, conversation, inLine));
      expect(await ask(deps, conversation, inLine)).toBe(second);
      expect(await turnRow(db, second)).toMatchObject({ status: "queued" });
      expect((await conversation.read()).openTurns).toBe(2);
    });

    it("runs it once of twenty at the same moment, from two instances, with one question stored", async () => {
      const { conversation, key, shown } = await given();
      const models = answering();
      const instances = [startInstance(db, models), startInstance(other, models)] as const;
      const answers = await Promise.all(
        Array.from({ length: 20 }, async (_, i) => {
          const process = instances[i % 2 === 0 ? 0 : 1];
          const turn = await ask(process, conversation, key);
          return { turnId: turn.turnId, ...(await wholeAnswer(process, turn)) };
        }),
      );
      expect(new Set(answers.map((answer) => JSON.stringify(answer))).size).toBe(1);
      expect(models.calls).toHaveLength(1);
      expect(await shown()).toEqual(["Who are you?", answerTo("Who are you?")]);
      await expectTrueCounts(db, conversation.id);
    });

    it("makes one conversation where the request names none", async () => {
      const { deps, key } = await given();
      const to = { owner: newUser(), id: null };
      const all = await Promise.all([1, 2, 3].map(() => ask(deps, to, key)));
      const c = db.tables.conversations;
      const made = await db.select().from(c).where(eq(c.userId, to.owner.userId));
      expect(made.map(({ id }) => id)).toEqual([all[0]?.conversationId]);
      expect(new Set(all.map(({ turnId }) => turnId)).size).toBe(1);
    });
  });

  describe("whose turn has ended", () => {
    it("gives the same answer again, after any time within a day, here, elsewhere and after a restart", async () => {
      const { deps, conversation, key, shown } = await given();
      const turn = await ask(deps, conversation, key);
      (await deps.models.call(1)).end("Me");
      const first = await wholeAnswer(deps, turn);
      for (const process of [deps, startInstance(other), startInstance(db)]) {
        process.time.now = NOW + DAY - 1;
        const again = await ask(process, conversation, key);
        expect(again.turnId).toBe(turn.turnId);
        expect(await wholeAnswer(process, again)).toEqual(first);
      }
      expect(deps.models.calls).toHaveLength(1);
      expect(await shown()).toEqual(["Who are you?", "Me"]);
    });

    it("gives all answers again, the same in the same order, where several were asked for", async () => {
      const { conversation, key } = await given();
      let nth = 0;
      const deps = startInstance(
        db,
        testModels((call) => call.end(`Answer ${++nth}`)),
      );
      const first = await wholeAnswer(deps, await ask(deps, conversation, key, { wanted: 4 }));
      expect(first.alternatives).toHaveLength(3);
      const later = startInstance(other);
      expect(await wholeAnswer(later, await ask(later, conversation, key, { wanted: 4 }))).toEqual(first);
    });

    it("is free again after a day: the same key is a new request", async () => {
      const { deps, conversation, key, shown } = await given();
      const turn = await ask(deps, conversation, key);
      (await deps.models.call(1)).end("Me");
      await wholeAnswer(deps, turn);
      deps.time.now = NOW + DAY;
      const next = await ask(deps, conversation, { ...key, requestHash: "another" });
      (await deps.models.call(2)).end("Me too");
      expect(await wholeAnswer(deps, next)).toMatchObject({ content: "Me too" });
      expect(next.turnId).not.toBe(turn.turnId);
      expect(await shown()).toEqual(["Who are you?", "Me", "Who are you?", "Me too"]);
    });

    it("is forgotten after a day, and not before", async () => {
      const { deps, conversation, key } = await given();
      await ask(deps, conversation, key);
      const k = db.tables.idempotencyKeys;
      const stored = () => db.select().from(k).where(eq(k.key, key.key));
      await forgetKeys(db, NOW + DAY - 1);
      expect(await stored()).toHaveLength(1);
      await forgetKeys(db, NOW + DAY);
      expect(await stored()).toEqual([]);
    });
  });

  describe("of another request", () => {
    it("is refused, wherever the first one stands, and nothing is stored", async () => {
      const { deps, conversation, key } = await given();
      const otherwise = { ...key, requestHash: "another request" };
      const stored = async () => [await conversation.read(), await messagesOf(db, conversation.id)];
      const expectRefused = async () => {
        const before = await stored();
        for (const to of [conversation, { ...conversation, id: null }]) {
          await expect(ask(deps, to, otherwise)).rejects.toMatchObject({ code: "idempotency_mismatch" });
        }
        expect(await stored()).toEqual(before);
      };
      const turn = ours(await ask(deps, conversation, key));
      await expectRefused();
      (await deps.models.call(1)).fail("provider_failed");
      await turn.ended;
      await expectRefused();
      expect(deps.models.calls).toHaveLength(1);
      const c = db.tables.conversations;
      expect(await db.select().from(c).where(eq(c.userId, conversation.owner.userId))).toHaveLength(1);
    });

    it("is nobody's business but the caller's: others use the same key for themselves", async () => {
      const { deps, conversation, key } = await given();
      const second = await newConversation(db);
      const [mine, theirs] = [await ask(deps, conversation, key), await ask(deps, second, key)];
      expect(theirs.conversationId).toBe(second.id);
      const root = { owner: as("admin", "root", conversation.owner.userId), id: conversation.id };
      expect((await ask(deps, root, key)).turnId).not.toBe(mine.turnId);
      expect(await turnsOf(db, conversation.id)).toHaveLength(2);
    });
  });

  describe("whose turn failed", () => {
    /** A turn that failed with this text, and its key. */
    async function givenFailed(code: "provider_failed" | "provider_timeout" = "provider_failed", text = "", on = db) {
      const all = await given(on);
      const failed = ours(await ask(all.deps, all.conversation, all.key));
      const call = await all.deps.models.call(1);
      if (text) call.say(text);
      call.fail(code);
      await failed.ended;
      return { ...all, failed };
    }

    it("runs a new turn on the stored question, whose answer is the key's from then on", async () => {
      const { deps, conversation, key, failed } = await givenFailed();
      const again = ours(await ask(deps, conversation, key));
      expect(again.turnId).not.toBe(failed.turnId);
      expect(again).toMatchObject({ questionId: failed.questionId, conversationId: conversation.id });
      const call = await deps.models.call(2);
      expect(call.messages).toEqual([{ role: "user", content: "Who are you?" }]);
      call.end("Me");
      const answer = await wholeAnswer(deps, again);
      expect(answer).toMatchObject({ content: "Me" });
      const later = startInstance(other);
      expect(await wholeAnswer(later, await ask(later, conversation, key))).toEqual(answer);
      expect(deps.models.calls).toHaveLength(2);
      const stored = await messagesOf(db, conversation.id);
      expect(stored.filter(({ role }) => role === "user")).toHaveLength(1);
      expect(await conversation.read()).toMatchObject({ messageCount: 2, openTurns: 0, lastMessage: "Me" });
      await expectTrueCounts(db, conversation.id);
    });

    it("does so once of ten at the same moment, from two instances", async () => {
      const { conversation, key } = await givenFailed();
      const models = answering();
      const instances = [startInstance(db, models), startInstance(other, models)] as const;
      const answers = await Promise.all(
        Array.from({ length: 10 }, async (_, i) => {
          const process = instances[i % 2 === 0 ? 0 : 1];
          return wholeAnswer(process, await ask(process, conversation, key));
        }),
      );
      expect(new Set(answers.map(({ content }) => content))).toEqual(new Set([answerTo("Who are you?")]));
      expect(models.calls).toHaveLength(1);
      expect(await turnsOf(db, conversation.id)).toHaveLength(2);
      await expectTrueCounts(db, conversation.id);
    });

    it("does so again and again, until one is whole; half an answer gives way to it", async () => {
      const { deps, conversation, key } = await givenFailed("provider_timeout", "Half");
      for (const [nth, text] of [
        [2, ""],
        [3, "Half as well"],
      ] as const) {
        const turn = ours(await ask(deps, conversation, key));
        const call = await deps.models.call(nth);
        if (text) call.say(text);
        call.fail("provider_failed");
        await expect(wholeAnswer(deps, turn)).rejects.toMatchObject({ code: "provider_failed" });
        await expectTrueCounts(db, conversation.id);
      }
      const turn = await ask(deps, conversation, key);
      (await deps.models.call(4)).end("Me");
      await wholeAnswer(deps, turn);
      const stored = await messagesOf(db, conversation.id);
      const standing = stored.filter(({ supersededAt, content }) => supersededAt === null && content !== "");
      expect(standing.map(({ content }) => content)).toEqual(["Who are you?", "Me"]);
      expect(await turnsOf(db, conversation.id)).toHaveLength(4);
      expect(await conversation.read()).toMatchObject({ messageCount: 2, lastMessage: "Me" });
      await expectTrueCounts(db, conversation.id);
    });

    it("waits in line behind what was asked meanwhile, and is shown nothing of that", async () => {
      const { deps, conversation, key, failed } = await givenFailed();
      const between = ours(await ask(deps, conversation, newKey(), { content: "And you?" }));
      const call = await deps.models.call(2);
      const again = ours(await ask(deps, conversation, key));
      expect(await turnRow(db, again)).toMatchObject({ status: "queued", userMessageId: failed.questionId });
      call.end("Ada");
      await between.ended;
      const next = await deps.models.call(3);
      expect(next.messages).toEqual([{ role: "user", content: "Who are you?" }]);
      next.end("Bob");
      expect(await wholeAnswer(deps, again)).toMatchObject({ content: "Bob" });
      await expectTrueCounts(db, conversation.id);
    });

    it("does so at the first retry where its process died and nobody knows yet", async () => {
      const own = await openForTest(await fresh());
      const { deps, conversation, key } = await given(own);
      const lost = await ask(deps, conversation, key);
      const next = startInstance(own, answering());
      const asked = ask(next, conversation, key); // nobody renews the lease of the first, which still holds
      await lapse(own, lost);
      await sweepTurns(next);
      const again = ours(await asked);
      expect(again.turnId).not.toBe(lost.turnId);
      expect(await wholeAnswer(next, again)).toMatchObject({
        content: answerTo("Who are you?"),
        turn: { turnId: again.turnId },
      });
      expect(await turnsOf(own, conversation.id)).toHaveLength(2);
    });

    it("does so for who has joined it where its process dies after that", async () => {
      const own = await openForTest(await fresh());
      const { deps, conversation, key } = await given(own);
      const lost = await ask(deps, conversation, key);
      const next = startInstance(own, answering());
      const joined = await renewingUntil(deps, ask(next, conversation, key));
      expect(joined.turnId).toBe(lost.turnId);
      const answered = wholeAnswer(next, joined);
      await lapse(own, lost);
      await sweepTurns(next);
      const { turn, content } = await answered;
      expect([turn.turnId === lost.turnId, content]).toEqual([false, answerTo("Who are you?")]);
    });

    it("does so where its process died, or left", async () => {
      const own = await openForTest(await fresh());
      const { deps, conversation, key } = await given(own);
      const lost = await ask(deps, conversation, key);
      await lapse(own, lost);
      const next = startInstance(own);
      await sweepTurns(next);
      const again = ours(await ask(next, conversation, key));
      (await next.models.call(1)).say("Half");
      await drainTurns(next.live, 0);
      expect((await again.ended).turn.error).toMatchObject({ code: "provider_unavailable" });
      const last = startInstance(own, answering());
      const answer = await wholeAnswer(last, await ask(last, conversation, key));
      expect(answer).toMatchObject({ content: answerTo("Who are you?") });
      expect((await messagesOf(own, conversation.id)).filter(({ role }) => role === "user")).toHaveLength(1);
      await expectTrueCounts(own, conversation.id);
    });

    it("asks for as many answers as before", async () => {
      const { deps, conversation, key } = await given();
      const failed = ours(await ask(deps, conversation, key, { wanted: 2 }));
      for (const nth of [1, 2]) (await deps.models.call(nth)).fail("provider_failed");
      await failed.ended;
      const again = await ask(deps, conversation, key, { wanted: 2 });
      for (const nth of [3, 4]) (await deps.models.call(nth)).end(`Answer ${nth}`);
      const { content, alternatives } = await wholeAnswer(deps, again);
      expect([content, alternatives.map((one) => one.content)]).toEqual(["Answer 3", ["Answer 4"]]);
      expect(await conversation.read()).toMatchObject({ messageCount: 2, lastMessage: "Answer 3" });
      await expectTrueCounts(db, conversation.id);
    });

    it("says so where the assistant may answer no more", async () => {
      const { deps, conversation, key } = await givenFailed();
      const c = db.tables.conversations;
      await db.update(c).set({ status: "ended", endedAt: NOW }).where(eq(c.id, conversation.id));
      await expect(ask(deps, conversation, key)).rejects.toMatchObject({ code: "session_ended" });
      expect(await turnsOf(db, conversation.id)).toHaveLength(1);
    });
  });

  it("whose turn was cancelled runs no other: stop stays stop", async () => {
    for (const text of ["", "Half"]) {
      const { deps, conversation, key } = await given();
      const turn = ours(await ask(deps, conversation, key));
      const call = await deps.models.call(1);
      if (text) call.say(text);
      await cancelTurn(deps, conversation.owner, turn.turnId);
      for (const process of [deps, startInstance(other)]) {
        const again = await ask(process, conversation, key);
        expect(again.turnId).toBe(turn.turnId);
        await expect(wholeAnswer(process, again)).rejects.toMatchObject({ code: "turn_cancelled" });
      }
      expect(await turnsOf(db, conversation.id)).toHaveLength(1);
    }
  });

  it("of a deleted conversation finds nothing, and runs nothing", async () => {
    const { deps, conversation, key } = await given();
    const { owner, id } = conversation;
    const turn = await ask(deps, conversation, key);
    (await deps.models.call(1)).end("Me");
    await wholeAnswer(deps, turn);
    await deleteConversation(db, owner, { id, now: NOW });
    for (const to of [conversation, { owner, id: null }]) {
      await expect(ask(deps, to, key)).rejects.toMatchObject({ code: "not_found" });
    }
    expect(deps.models.calls).toHaveLength(1);
  });

  it("that is used with a message that is refused stays free", async () => {
    const { deps, conversation, key } = await given();
    await expect(ask(deps, conversation, key, { model: "gpt-17" })).rejects.toMatchObject({
      code: "validation_failed",
    });
    await expect(ask(deps, { ...conversation, owner: newUser() }, key)).rejects.toMatchObject({ code: "not_found" });
    const turn = ours(await ask(deps, conversation, { ...key, requestHash: "another" }));
    expect(await turnRow(db, turn)).toMatchObject({ status: "in_progress" });
  });

  describe("of a request that makes a conversation", () => {
    const make = (on: Db, owner: Actor, key: RequestKey, now = NOW): Promise<Conversation> =>
      createConversation(on, owner, { title: "Chess", now, key, respond: (conversation) => conversation });
    const madeBy = async (owner: Actor) => {
      const c = db.tables.conversations;
      return (await db.select().from(c).where(eq(c.userId, owner.userId))).map(({ id }) => id);
    };

    it("gives what it was answered with again, also of several at the same moment, and makes one", async () => {
      const [owner, key] = [newUser(), newKey()];
      const all = await Promise.all([db, other, db, other].map((on) => make(on, owner, key)));
      const [{ id } = { id: "" }] = all;
      expect(all.map((one) => one.id)).toEqual([id, id, id, id]);
      expect(new Set(all.map((one) => JSON.stringify(one))).size).toBe(1);
      expect(await make(other, owner, key, NOW + DAY - 1)).toEqual(all[0]);
      expect(await madeBy(owner)).toEqual([id]);
      expect((await getConversation(db, owner, id)).title).toBe("Chess");
    });

    it("of which nothing is there any more finds nothing, and keeps no word of it", async () => {
      const [owner, key] = [newUser(), newKey()];
      const { id } = await make(db, owner, key);
      const k = db.tables.idempotencyKeys;
      expect(JSON.stringify(await db.select().from(k).where(eq(k.userId, owner.self)))).not.toContain("Chess");
      await deleteConversation(db, owner, { id, now: NOW });
      await expect(make(other, owner, key)).rejects.toMatchObject({ code: "not_found" });
      expect(await madeBy(owner)).toEqual([]);
    });

    it("is another's to use, free after a day, and refused for another request", async () => {
      const [owner, key] = [newUser(), newKey()];
      const first = await make(db, owner, key);
      expect((await make(db, newUser(), key)).id).not.toBe(first.id);
      await expect(make(db, owner, { ...key, requestHash: "another" })).rejects.toMatchObject({
        code: "idempotency_mismatch",
      });
      expect(await madeBy(owner)).toEqual([first.id]);
      const later = await make(db, owner, { ...key, requestHash: "another" }, NOW + DAY);
      expect((await madeBy(owner)).toSorted()).toEqual([first.id, later.id].toSorted());
    });
  });
});
