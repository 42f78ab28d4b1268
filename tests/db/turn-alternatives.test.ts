import { describe, expect, it } from "vitest";
import { nextId } from "../support/db-ids.ts";
import { another, ending, NOW, question } from "../support/db-questions.ts";
import { spellings, useTurns } from "../support/db-turns.ts";

describe.each(spellings)("a turn that ends with other answers too ($spelling)", (spelling) => {
  const turns = useTurns(spelling);
  const other = (content: string) => ({ id: nextId(), content, target: "groq/small" });

  it("stores them as superseded, each with a revision of its own below the answer's", async () => {
    const first = await turns.begin(question(), true);
    const { conversationId, turnId } = first.input;
    const alternatives = [other("One"), other("Two")];
    expect(await turns.writes.finish(ending(first, { alternatives }))).toEqual({ rev: 5, openTurns: 0 });
    const { messages } = await turns.stored(conversationId);
    expect(messages.map(({ seq, rev, content }) => ({ seq, rev, content }))).toEqual([
      { seq: 1, rev: 1, content: "How are you today?" },
      { seq: 2, rev: 5, content: "Fine, thank you." },
      { seq: 3, rev: 3, content: "Two" },
      { seq: 4, rev: 4, content: "One" },
    ]);
    expect(messages[3]).toEqual({
      id: alternatives[0]?.id,
      conversationId,
      turnId,
      seq: 4,
      rev: 4,
      role: "assistant",
      senderId: null,
      content: "One",
      status: "completed",
      model: "groq/small",
      metadata: null,
      createdAt: NOW + 500,
      editedAt: null,
      deletedAt: null,
      erasedAt: null,
      size: 3,
      supersededAt: NOW + 500,
    });
  });

  it("neither counts them nor makes one of them the last message", async () => {
    const first = await turns.begin(question(), true);
    const { conversationId } = first.input;
    await turns.writes.finish(ending(first, { alternatives: [other("One"), other("Two")] }));
    const { conversation, turns: ledger } = await turns.stored(conversationId);
    expect(conversation).toMatchObject({ rev: 5, messageCount: 2, lastMessage: "Fine", lastSeq: 2, openTurns: 0 });
    expect(ledger).toMatchObject([{ status: "completed", leaseUntil: null }]);
  });

  it("leaves the turn that waits its place, and the next question a place after all", async () => {
    const first = await turns.begin(question(), true);
    const waiting = await turns.begin(another(first.input, { preview: "And you?" }));
    const alternatives = [other("One")];
    expect(await turns.writes.finish(ending(first, { alternatives }))).toEqual({ rev: 6, openTurns: 1 });
    expect((await turns.stored(first.input.conversationId)).conversation?.lastMessage).toBe("And you?");
    expect((await turns.firstInLine(first.input.conversationId))?.turnId).toBe(waiting.input.turnId);
    expect((await turns.begin(another(first.input))).begun).toMatchObject({ seq: 8, status: "queued" });
  });

  it("stores none of them where the turn is not in progress any more", async () => {
    const first = await turns.begin(question(), true);
    await turns.writes.finish(ending(first));
    const late = ending(first, { alternatives: [other("One")] });
    await turns.refused(first.input.conversationId, () => turns.writes.finish(late));
  });

  it("stores nothing at all where the id of one is taken", async () => {
    const first = await turns.begin(question(), true);
    const { conversationId, questionId } = first.input;
    const alternatives = [other("One"), { ...other("Two"), id: questionId }];
    await turns.refused(conversationId, () => turns.writes.finish(ending(first, { alternatives })));
    expect(await turns.writes.finish(ending(first))).toEqual({ rev: 3, openTurns: 0 });
  });
});
