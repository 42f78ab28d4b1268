import { and, eq, isNull } from "drizzle-orm";
import { describe, expect, it } from "vitest";
import { isConflict } from "../../src/db/db.ts";
import { nextId } from "../support/db-ids.ts";
import { another, ending, failing, NOW, question } from "../support/db-questions.ts";
import { spellings, useTurns } from "../support/db-turns.ts";

describe.each(spellings)("finishing a turn ($spelling)", (spelling) => {
  const turns = useTurns(spelling);
  const lastMessage = async (id: string) => (await turns.stored(id)).conversation?.lastMessage;

  it("writes the answer, the turn and the conversation", async () => {
    const asked = await turns.begin(question(), true);
    const { conversationId, questionId, answerId, turnId } = asked.input;
    const before = await turns.stored(conversationId);
    const end = ending(asked, { content: "Gut, danke. 🐘 {\"a\": 'b'}" });
    await turns.writes.finish(end);
    const { conversation, messages, turns: ledger } = await turns.stored(conversationId);
    expect(conversation).toEqual({
      ...before.conversation,
      rev: 3,
      openTurns: 0,
      messageCount: 2,
      lastMessage: "Fine",
      lastSeq: 2,
      updatedAt: NOW + 500,
    });
    expect(messages).toEqual([
      { ...before.messages[0], id: questionId },
      {
        ...before.messages[1],
        id: answerId,
        content: end.content,
        size: Buffer.byteLength(end.content),
        status: "completed",
        model: "openai/large",
        seq: 2,
        rev: 3,
      },
    ]);
    expect(ledger).toEqual([
      {
        ...before.turns[0],
        id: turnId,
        status: "completed",
        target: "openai/large",
        finishReason: "stop",
        usage: end.usage,
        attempts: end.attempts,
        error: null,
        context: end.context,
        leaseUntil: null,
        completedAt: NOW + 500,
      },
    ]);
  });

  it("counts a partial answer and makes it the last message", async () => {
    const asked = await turns.begin(question(), true);
    const error = { code: "turn_cancelled", detail: "It was cancelled." };
    await turns.writes.finish(
      ending(asked, { status: "incomplete", content: "Fi", preview: "Fi", error, finishReason: null }),
    );
    const { conversation, messages, turns: ledger } = await turns.stored(asked.input.conversationId);
    expect(conversation).toMatchObject({ messageCount: 2, lastMessage: "Fi", lastSeq: 2, openTurns: 0 });
    expect(messages[1]).toMatchObject({ content: "Fi", status: "incomplete" });
    expect(ledger[0]).toMatchObject({ status: "incomplete", error, finishReason: null });
  });

  it("counts no empty failed answer, and leaves the last message and its time as they were", async () => {
    const asked = await turns.begin(question(), true);
    const end = failing(asked);
    await turns.writes.finish(end);
    const { conversation, messages, turns: ledger } = await turns.stored(asked.input.conversationId);
    expect(conversation).toMatchObject({
      rev: 3,
      messageCount: 1,
      lastMessage: "How are you?",
      lastSeq: 1,
      updatedAt: NOW,
    });
    expect(messages[1]).toMatchObject({ content: "", status: "failed", model: null, rev: 3 });
    expect(ledger[0]).toMatchObject({
      status: "failed",
      target: null,
      usage: null,
      context: null,
      error: end.error,
      leaseUntil: null,
      completedAt: NOW + 500,
    });
  });

  it("stores a missing usage, error or context as NULL, never as the text 'null'", async () => {
    const asked = await turns.begin(question(), true);
    await turns.writes.finish(ending(asked, { usage: null, context: null, error: null }));
    const t = turns.db.tables.turns;
    const nulls = and(
      eq(t.id, asked.input.turnId),
      isNull(t.usage),
      isNull(t.context),
      isNull(t.error),
      isNull(t.cost),
    );
    expect(await turns.db.select({ id: t.id }).from(t).where(nulls)).toHaveLength(1);
  });

  it("tells the new revision and how many turns are still open, and nothing else", async () => {
    const first = await turns.begin(question(), true);
    const second = await turns.begin(another(first.input));
    expect(await turns.writes.finish(ending(first))).toEqual({ rev: 5, openTurns: 1 });
    await turns.promote(second.input.turnId);
    expect(await turns.writes.finish(failing(second))).toEqual({ rev: 6, openTurns: 0 });
  });

  it("leaves the question that was queued behind it as the last message", async () => {
    const first = await turns.begin(question(), true);
    const { conversationId } = first.input;
    const second = await turns.begin(another(first.input, { preview: "And you?" }));
    await turns.writes.finish(ending(first, { preview: "One", now: NOW + 2_000 }));
    expect((await turns.stored(conversationId)).conversation).toMatchObject({
      lastMessage: "And you?",
      lastSeq: 3,
      messageCount: 3,
      updatedAt: NOW + 2_000,
    });
    await turns.promote(second.input.turnId);
    await turns.writes.finish(ending(second, { preview: "Two" }));
    expect(await lastMessage(conversationId)).toBe("Two");
  });

  it("touches no other turn and no other conversation", async () => {
    const [mine, theirs] = [await turns.begin(question(), true), await turns.begin(question(), true)];
    const waiting = await turns.begin(another(mine.input));
    const before = await turns.stored(theirs.input.conversationId);
    await turns.writes.finish(ending(mine));
    expect(await turns.stored(theirs.input.conversationId)).toEqual(before);
    const { messages, turns: ledger } = await turns.stored(mine.input.conversationId);
    expect(ledger.map(({ id, status }) => ({ id, status }))).toContainEqual({
      id: waiting.input.turnId,
      status: "queued",
    });
    expect(messages.at(-1)).toMatchObject({ content: "", status: "in_progress", rev: 4 });
  });

  it("is refused the second time, and changes nothing", async () => {
    const asked = await turns.begin(question(), true);
    const { conversationId } = asked.input;
    await turns.writes.finish(ending(asked));
    await turns.refused(conversationId, () => turns.writes.finish(ending(asked, { content: "No!", preview: "No!" })));
    await turns.refused(conversationId, () => turns.writes.finish(failing(asked)));
  });

  it("succeeds once, where several try it at once", async () => {
    const asked = await turns.begin(question(), true);
    const contents = Array.from({ length: 10 }, (_, i) => `Answer ${i}`);
    const outcomes = await Promise.allSettled(
      contents.map((content) => turns.writes.finish(ending(asked, { content, preview: content }))),
    );
    const winners = contents.filter((_, i) => outcomes[i]?.status === "fulfilled");
    expect(winners).toHaveLength(1);
    for (const outcome of outcomes) if (outcome.status === "rejected") expect(outcome.reason).toSatisfy(isConflict);
    const { conversation, messages } = await turns.stored(asked.input.conversationId);
    expect(conversation).toMatchObject({ rev: 3, openTurns: 0, messageCount: 2, lastMessage: winners[0] });
    expect(messages[1]).toMatchObject({ content: winners[0], rev: 3 });
  });

  it.each(["queued", "completed", "incomplete", "failed"] as const)(
    "is refused, and changes nothing, where the turn is %s",
    async (status) => {
      const asked = await turns.begin(question(), true);
      const t = turns.db.tables.turns;
      await turns.db.update(t).set({ status }).where(eq(t.id, asked.input.turnId));
      await turns.refused(asked.input.conversationId, () => turns.writes.finish(ending(asked)));
    },
  );

  it("is refused, and changes nothing, where the turn is unknown", async () => {
    const asked = await turns.begin(question(), true);
    await turns.refused(asked.input.conversationId, () => turns.writes.finish(ending(asked, { turnId: nextId() })));
  });

  it("is refused where the conversation was deleted, and the ledger stays as it is", async () => {
    const asked = await turns.begin(question(), true);
    const { conversationId } = asked.input;
    const c = turns.db.tables.conversations;
    await turns.db.delete(c).where(eq(c.id, conversationId));
    await turns.refused(conversationId, () => turns.writes.finish(ending(asked)));
    expect((await turns.stored(conversationId)).turns).toMatchObject([{ status: "in_progress", completedAt: null }]);
  });
});
