import { eq } from "drizzle-orm";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { regenerate } from "../../src/core/answers.ts";
import { cancelTurn } from "../../src/core/cancel.ts";
import type { Actor } from "../../src/core/identity.ts";
import type { RequestKey } from "../../src/core/keys.ts";
import { beginTurn, type Question } from "../../src/core/turns.ts";
import type { Db } from "../../src/db/db.ts";
import {
  as,
  begin,
  expectTrueCounts,
  type Instance,
  messagesOf,
  newConversation,
  newUser,
  ours,
  send,
  startInstance,
  turnsOf,
} from "../support/core-instance.ts";
import { databases, open } from "../support/databases.ts";

const MOST = 3;
const refused = expect.objectContaining({
  code: "rate_limited",
  details: { retryAfterS: 1, limit: { name: "turns", quota: MOST } },
});

let keys = 0;
const newKey = (): RequestKey => ({ key: `open-${++keys}`, requestHash: "this request" });

describe.each(databases)("a user with three open turns, the most allowed, on $database", ({ database, fresh }) => {
  let db: Db;
  beforeAll(async () => {
    db = await open(await fresh());
  });
  afterAll(() => db.close());

  const startLimited = () => startInstance(db, undefined, { turns: MOST, tokensADay: null });
  /** An empty conversation of a user who has others. */
  const conversationOf = async (owner: Actor) => {
    const made = await newConversation(db, { userId: owner.userId });
    return { ...made, owner };
  };
  const ask = (deps: Instance, owner: Actor, set: Partial<Question> = {}) =>
    beginTurn(deps, owner, { conversationId: null, content: "One more", model: undefined, ...set });

  /** One that waits behind another, and one of a conversation that it made. */
  async function given(deps = startLimited()) {
    const owner = newUser();
    const conversation = await conversationOf(owner);
    const key = newKey();
    const turns = [await send(deps, conversation, "First", { key }), await send(deps, conversation, "Second")] as const;
    const alone = ours(await ask(deps, owner));
    await deps.models.call(2);
    const callOf = (question: string) => {
      const call = deps.models.calls.find((one) => one.question === question); // whichever began first
      if (!call) throw new Error(`nobody was asked ${question}`);
      return call;
    };
    return { deps, owner, conversation, key, turns, alone, callOf };
  }
  const stored = async (id: string) => [await messagesOf(db, id), await turnsOf(db, id)];

  it("begins no other: not there, not elsewhere, not in a new conversation; nothing is stored, nobody asked", async () => {
    const { deps, owner, conversation } = await given();
    const elsewhere = await conversationOf(owner);
    const before = await stored(conversation.id);
    for (const conversationId of [conversation.id, elsewhere.id, null]) {
      for (const ifBusy of ["queue", "reject"] as const) {
        for (const key of [null, newKey()]) {
          await expect(ask(deps, owner, { conversationId, ifBusy, key })).rejects.toEqual(refused);
        }
      }
    }
    expect(await stored(conversation.id)).toEqual(before);
    expect(await stored(elsewhere.id)).toEqual([[], []]);
    const c = db.tables.conversations;
    expect(await db.select().from(c).where(eq(c.userId, owner.userId))).toHaveLength(3);
    expect(deps.models.calls).toHaveLength(2);
    await expectTrueCounts(db, conversation.id);
  });

  it("may begin another when one has ended, well or badly, and no more than that", async () => {
    const { deps, owner, alone, callOf } = await given();
    callOf("One more").end("Done");
    await alone.ended;
    const next = ours(await ask(deps, owner));
    await expect(ask(deps, owner)).rejects.toEqual(refused);
    (await deps.models.call(3)).fail("provider_failed");
    await next.ended;
    await ask(deps, owner);
    await expect(ask(deps, owner)).rejects.toEqual(refused);
  });

  it("may begin another when one is cancelled, in line or running, before that has ended", async () => {
    const { deps, owner, turns } = await given();
    await cancelTurn(deps, owner, turns[1].turnId);
    await ask(deps, owner);
    await expect(ask(deps, owner)).rejects.toEqual(refused);
    const t = db.tables.turns;
    await db.update(t).set({ cancelRequestedAt: 1 }).where(eq(t.id, turns[0].turnId)); // as another instance marks it
    await ask(deps, owner);
    await expect(ask(deps, owner)).rejects.toEqual(refused);
  });

  it("may interrupt, which frees the places that it needs, and only so", async () => {
    const { deps, owner, conversation } = await given();
    const elsewhere = await conversationOf(owner);
    await expect(ask(deps, owner, { conversationId: elsewhere.id, ifBusy: "interrupt" })).rejects.toEqual(refused);
    await ask(deps, owner, { conversationId: conversation.id, ifBusy: "interrupt" });
    expect(await stored(elsewhere.id)).toEqual([[], []]);
  });

  it("joins a turn that runs by its key, and cannot run one again that failed", async () => {
    const { deps, owner, conversation, key, turns, callOf } = await given();
    const again = { conversationId: conversation.id, content: "First", key };
    expect(await ask(deps, owner, again)).toMatchObject({ turnId: turns[0].turnId });
    callOf("First").fail("provider_failed");
    await turns[0].ended;
    await ask(deps, owner);
    const before = await stored(conversation.id);
    await expect(ask(deps, owner, again)).rejects.toEqual(refused);
    expect((await stored(conversation.id))[0]).toHaveLength(before[0]?.length ?? -1);
  });

  it("makes no answer anew, but one whose key made it", async () => {
    const { deps, owner, alone, callOf } = await given();
    callOf("One more").end("Done");
    await alone.ended;
    const anew = { messageId: alone.answerId, model: undefined };
    const key = newKey();
    const made = await regenerate(deps, owner, { ...anew, key });
    expect(await regenerate(deps, owner, { ...anew, key })).toMatchObject({ turnId: made.turnId });
    const other = await conversationOf(owner);
    for (const one of [null, newKey()]) {
      await expect(regenerate(deps, owner, { ...anew, key: one })).rejects.toEqual(refused);
    }
    await expect(ask(deps, owner, { conversationId: other.id })).rejects.toEqual(refused);
    expect(await turnsOf(db, alone.conversationId)).toHaveLength(2);
  });

  it("is held to it whoever acts there; those who act and all other users have their own", async () => {
    const { deps, owner, conversation } = await given();
    const admin = as("admin", `admin of ${owner.userId}`);
    const named = as("admin", admin.self, owner.userId);
    await expect(ask(deps, admin, { conversationId: conversation.id })).rejects.toEqual(refused);
    await expect(ask(deps, named)).rejects.toEqual(refused);
    const agent = as("agent", `agent of ${owner.userId}`);
    await db
      .update(db.tables.conversations)
      .set({ isLive: true })
      .where(eq(db.tables.conversations.id, conversation.id));
    await expect(ask(deps, agent, { conversationId: conversation.id })).rejects.toEqual(refused);
    for (const other of [admin, agent, newUser()]) {
      for (let i = 0; i < MOST; i++)
        await begin(deps, other, { conversationId: null, content: "Mine", model: undefined });
      await expect(ask(deps, other)).rejects.toEqual(refused);
    }
  });

  it("is told first what is wrong otherwise", async () => {
    const { deps, owner, conversation } = await given();
    await expect(ask(deps, newUser(), { conversationId: conversation.id })).rejects.toMatchObject({
      code: "not_found",
    });
    await expect(ask(deps, owner, { model: "nonsense" })).rejects.toMatchObject({ code: "validation_failed" });
  });

  it("gets there with many that are asked at once; on Postgres those of one instant may be more", async () => {
    const deps = startLimited();
    const owner = newUser();
    const outcomes = await Promise.allSettled(Array.from({ length: 12 }, () => ask(deps, owner)));
    const begun = outcomes.filter(({ status }) => status === "fulfilled").length;
    if (database === "SQLite") expect(begun).toBe(MOST);
    else expect(begun).toBeGreaterThanOrEqual(MOST);
    for (const outcome of outcomes) if (outcome.status === "rejected") expect(outcome.reason).toEqual(refused);
    await expect(ask(deps, owner)).rejects.toEqual(refused);
  });
});
