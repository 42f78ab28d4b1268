import { eq } from "drizzle-orm";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { regenerate } from "../../src/core/answers.ts";
import { deleteConversation } from "../../src/core/conversation-deletion.ts";
import type { Actor } from "../../src/core/identity.ts";
import { stopLive, type TurnDeps } from "../../src/core/live.ts";
import { recordUse } from "../../src/core/running.ts";
import { beginTurn, type Question } from "../../src/core/turns.ts";
import type { Db } from "../../src/db/db.ts";
import {
  begin,
  type Instance,
  messagesOf,
  NOW,
  newConversation,
  newUser,
  send,
  startInstance,
  turnRow,
  turnsOf,
} from "../support/core-instance.ts";
import { answering, attempt, TARGET, testModels } from "../support/core-models.ts";
import { databases, open } from "../support/databases.ts";

/** What one turn of the test's model takes. */
const TURN = 5;
const HOUR = 60 * 60 * 1000;

const failing = () => testModels((call) => call.fail("provider_failed"));

const refused = (tokens: number, hours: number) =>
  expect.objectContaining({
    code: "quota_exceeded",
    details: { retryAfterS: hours * 3600, limit: { name: "tokens", quota: tokens, windowS: 24 * 3600 } },
  });

describe.each(databases)("the tokens that a user has a day, on $database,", ({ fresh }) => {
  let db: Db;
  beforeAll(async () => {
    db = await open(await fresh());
  });
  afterAll(() => db.close());

  const startLimited = (turns: number, models = answering()) =>
    startInstance(db, models, { turns: null, tokensADay: turns * TURN });
  const question = { conversationId: null, content: "Hello", model: undefined };
  const ask = (deps: TurnDeps, owner: Actor, set: Partial<Question> = {}) =>
    beginTurn(deps, owner, { ...question, ...set });
  /** Asks that many times, and waits for the answers. */
  async function spend(deps: TurnDeps, owner: Actor, turns: number, set: Partial<Question> = {}) {
    const begun = [];
    for (let i = 0; i < turns; i++) begun.push(await begin(deps, owner, { ...question, ...set }));
    await Promise.all(begun.map(({ ended }) => ended));
    return begun;
  }

  it("are looked at before anything is stored or asked; what is refused may come again at midnight UTC", async () => {
    const deps = startLimited(2);
    const conversation = await newConversation(db);
    const { owner, id } = conversation;
    await spend(deps, owner, 1);
    await (await send(deps, conversation, "Hello")).ended;
    const [messages, turns] = [await messagesOf(db, id), await turnsOf(db, id)];
    const calls = deps.models.calls.length;
    for (const conversationId of [null, id]) {
      for (const ifBusy of ["queue", "reject", "interrupt"] as const) {
        await expect(ask(deps, owner, { conversationId, ifBusy })).rejects.toEqual(refused(2 * TURN, 12));
      }
    }
    const anew = { messageId: turns[0]?.messageId ?? "", model: undefined, key: null };
    await expect(regenerate(deps, owner, anew)).rejects.toEqual(refused(2 * TURN, 12));
    expect([await messagesOf(db, id), await turnsOf(db, id)]).toEqual([messages, turns]);
    expect(deps.models.calls).toHaveLength(calls);

    deps.time.now = NOW + 11 * HOUR;
    await expect(ask(deps, owner)).rejects.toEqual(refused(2 * TURN, 1));
    deps.time.now = NOW + 12 * HOUR;
    await spend(deps, owner, 2);
    await expect(ask(deps, owner)).rejects.toEqual(refused(2 * TURN, 24));
  });

  it("are those of turns that have ended: the last may take more than is left", async () => {
    const deps = startLimited(1, testModels());
    const owner = newUser();
    const running = [await begin(deps, owner, question), await begin(deps, owner, question)];
    for (const nth of [1, 2]) (await deps.models.call(nth)).end("Done");
    await Promise.all(running.map(({ ended }) => ended));
    await expect(ask(deps, owner)).rejects.toEqual(refused(TURN, 12));
  });

  it("count for every answer that a turn made, also for those that failed", async () => {
    const owner = newUser();
    await spend(startLimited(2), owner, 1, { wanted: 2 });
    await expect(ask(startLimited(2), owner)).rejects.toEqual(refused(2 * TURN, 12));
    const unlucky = newUser();
    await spend(startLimited(1, failing()), unlucky, 1);
    await expect(ask(startLimited(1), unlucky)).rejects.toEqual(refused(TURN, 12));
  });

  it("are each user's own", async () => {
    const deps = startLimited(1);
    const [one, other] = [newUser(), newUser()];
    await spend(deps, one, 1);
    await expect(ask(deps, one)).rejects.toEqual(refused(TURN, 12));
    await spend(deps, other, 1);
  });

  it("do not come back when conversations are deleted", async () => {
    const deps = startLimited(1);
    const owner = newUser();
    const [turn] = await spend(deps, owner, 1);
    await deleteConversation(db, owner, { id: turn?.conversationId ?? "", now: NOW });
    await expect(ask(deps, owner)).rejects.toEqual(refused(TURN, 12));
  });

  describe("of a turn whose conversation is deleted while it runs", () => {
    async function givenDeleted(set: Partial<Question> = {}) {
      const deps: Instance = startInstance(db, undefined, { turns: null, tokensADay: TURN });
      const owner = newUser();
      const turn = await begin(deps, owner, { ...question, ...set });
      const call = await deps.models.call(1);
      call.say("Half an ans");
      const cancelled = await deleteConversation(db, owner, { id: turn.conversationId, now: NOW + 7 });
      return { deps, owner, turn, cancelled, call };
    }

    it("are in the ledger, and count", async () => {
      const { deps, owner, turn, cancelled } = await givenDeleted();
      stopLive(deps.live, cancelled);
      await turn.ended;
      expect(await turnRow(db, turn)).toMatchObject({
        status: "failed",
        error: { code: "turn_cancelled", detail: "The conversation was deleted." },
        usage: { input_tokens: 3, output_tokens: 2, estimated: false },
        target: TARGET,
        attempts: [attempt],
        completedAt: NOW + 7,
      });
      await expect(ask(deps, owner)).rejects.toEqual(refused(TURN, 12));
      expect(await messagesOf(db, turn.conversationId)).toEqual([]);
    });

    it("are in the ledger also where it was answered whole before it could be stopped", async () => {
      const { deps, owner, turn, call } = await givenDeleted();
      call.end("wer");
      await turn.ended;
      expect(await turnRow(db, turn)).toMatchObject({ status: "failed", usage: { output_tokens: 2 } });
      await expect(ask(deps, owner)).rejects.toEqual(refused(TURN, 12));
    });

    it("are not written over, nor where the conversation is still there", async () => {
      const { deps, turn, cancelled } = await givenDeleted();
      stopLive(deps.live, cancelled);
      const { turn: ended } = await turn.ended;
      const row = await turnRow(db, turn);
      const more = { ...ended, usage: { input_tokens: 900, output_tokens: 900, estimated: true } };
      await recordUse(db, more);
      expect(await turnRow(db, turn)).toEqual(row);

      const kept = await newConversation(db);
      const unlucky = await send(startInstance(db, failing()), kept, "Hello");
      await unlucky.ended;
      const t = db.tables.turns;
      await db.update(t).set({ usage: null }).where(eq(t.id, unlucky.turnId));
      await recordUse(db, { ...more, id: unlucky.turnId, conversationId: kept.id });
      expect((await turnRow(db, unlucky)).usage).toBeNull();
    });
  });
});
