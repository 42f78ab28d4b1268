import { describe, expect, it } from "vitest";
import { statement } from "../../src/db/db.ts";
import { NOBODY_TO_TELL } from "../../src/db/outbox-tables.ts";
import { another, ending, LEASE_MS, NOW, question } from "../support/db-questions.ts";
import { spellings, useTurns } from "../support/db-turns.ts";

const readClock = statement([], (db) => db.select({ now: db.now }).from(db.tables.conversations).limit(1));

describe.each(spellings)("beginning a turn ($spelling)", (spelling) => {
  const turns = useTurns(spelling);

  it("makes a new conversation with its first question, the empty answer and the running turn", async () => {
    const input = question({ content: "Größe? 🐘\n'quoted' \\ $1", title: "Größe", preview: "Größe? 🐘" });
    const { begun } = await turns.begin(input, true);
    expect(begun).toEqual({ seq: 2, status: "in_progress", systemPrompt: null, stopped: [] });
    const { conversation, messages, turns: ledger } = await turns.stored(input.conversationId);
    expect(conversation).toEqual({
      id: input.conversationId,
      userId: input.userId,
      agentId: null,
      clientId: null,
      title: "Größe",
      isLive: false,
      status: "active",
      control: "assistant",
      systemPrompt: null,
      metadata: null,
      rev: 2,
      messageCount: 1,
      lastMessage: "Größe? 🐘",
      lastSeq: 1,
      openTurns: 1,
      createdAt: NOW,
      updatedAt: NOW,
      endedAt: null,
      previousId: null,
      queuedAt: null,
      told: NOBODY_TO_TELL,
      mirrored: NOBODY_TO_TELL,
    });
    const times = { editedAt: null, deletedAt: null, erasedAt: null, supersededAt: null };
    const nothing = { model: null, metadata: null, ...times };
    const shared = { conversationId: input.conversationId, turnId: input.turnId, createdAt: NOW, ...nothing };
    expect(messages).toEqual([
      {
        ...shared,
        id: input.questionId,
        seq: 1,
        rev: 1,
        role: "user",
        senderId: input.senderId,
        content: input.content,
        size: Buffer.byteLength(input.content),
        status: "completed",
      },
      {
        ...shared,
        id: input.answerId,
        seq: 2,
        rev: 2,
        role: "assistant",
        senderId: null,
        content: "",
        size: 0,
        status: "in_progress",
      },
    ]);
    expect(ledger).toEqual([
      {
        id: input.turnId,
        conversationId: input.conversationId,
        userId: input.userId,
        userMessageId: input.questionId,
        messageId: input.answerId,
        status: "in_progress",
        model: "balanced",
        options: null,
        requestId: "request-1",
        target: null,
        restarts: 0,
        finishReason: null,
        usage: null,
        cost: null,
        attempts: null,
        error: null,
        context: null,
        leaseUntil: expect.any(Number),
        cancelRequestedAt: null,
        createdAt: NOW,
        completedAt: null,
      },
    ]);
  });

  it("gives the turn a lease by the database's clock", async () => {
    const readNow = async () => Number((await turns.db.all(readClock, {}))[0]?.now);
    await turns.begin(question(), true);
    const before = await readNow();
    const { input } = await turns.begin(question({ now: 5 }), true);
    const after = await readNow();
    const [turn] = (await turns.stored(input.conversationId)).turns;
    expect(turn?.leaseUntil).toBeGreaterThanOrEqual(before + LEASE_MS);
    expect(turn?.leaseUntil).toBeLessThanOrEqual(after + LEASE_MS);
  });

  it("takes two revisions of an existing conversation and tells its system prompt", async () => {
    const first = await turns.begin(question(), true);
    await turns.writes.finish(ending(first));
    await turns.change(first.input.conversationId, { systemPrompt: "Be brief." });
    const next = await turns.begin(another(first.input, { preview: "And now?", content: "And now, what?" }));
    expect(next.begun).toEqual({ seq: 5, status: "in_progress", systemPrompt: "Be brief.", stopped: [] });
    const { conversation, messages } = await turns.stored(first.input.conversationId);
    expect(conversation).toMatchObject({
      rev: 5,
      openTurns: 1,
      messageCount: 3,
      lastMessage: "And now?",
      lastSeq: 4,
      createdAt: NOW,
      updatedAt: NOW + 1_000,
    });
    expect(messages.map(({ seq, rev, content }) => ({ seq, rev, content }))).toEqual([
      { seq: 1, rev: 1, content: "How are you today?" },
      { seq: 2, rev: 3, content: "Fine, thank you." },
      { seq: 4, rev: 4, content: "And now, what?" },
      { seq: 5, rev: 5, content: "" },
    ]);
  });

  it("names a conversation that has no title, and leaves one that has", async () => {
    const { input } = await turns.begin(question({ title: "The first" }), true);
    await turns.begin(another(input, { title: "The second" }));
    expect((await turns.stored(input.conversationId)).conversation?.title).toBe("The first");
    await turns.change(input.conversationId, { title: null });
    await turns.begin(another(input, { title: "The third" }));
    expect((await turns.stored(input.conversationId)).conversation?.title).toBe("The third");
    await turns.change(input.conversationId, { title: "" });
    await turns.begin(another(input, { title: "The fourth" }));
    expect((await turns.stored(input.conversationId)).conversation?.title).toBe("");
  });

  it("queues behind an open turn, whether that runs or waits itself", async () => {
    const first = await turns.begin(question(), true);
    const { conversationId } = first.input;
    const second = await turns.begin(another(first.input));
    const third = await turns.begin(another(second.input));
    expect([second.begun, third.begun]).toEqual([
      { seq: 4, status: "queued", systemPrompt: null, stopped: [] },
      { seq: 6, status: "queued", systemPrompt: null, stopped: [] },
    ]);
    await turns.writes.finish(ending(first));
    const fourth = await turns.begin(another(third.input)); // the slot is free, but two are before it
    expect(fourth.begun).toEqual({ seq: 9, status: "queued", systemPrompt: null, stopped: [] });
    const { conversation, turns: ledger } = await turns.stored(conversationId);
    expect(ledger.map(({ status }) => status)).toEqual(["completed", "queued", "queued", "queued"]);
    expect(ledger.slice(1).every(({ leaseUntil }) => leaseUntil !== null)).toBe(true);
    expect(conversation).toMatchObject({ openTurns: 3, messageCount: 5 });
  });

  it("runs at once where every turn before it has ended", async () => {
    const first = await turns.begin(question(), true);
    await turns.writes.finish(ending(first));
    const second = await turns.begin(another(first.input));
    expect(second.begun.status).toBe("in_progress");
    expect(await turns.standing(first.input.conversationId)).toEqual({ said: 1, open: 1, running: 1 });
  });

  it("runs turns of different conversations beside each other", async () => {
    const all = await Promise.all(Array.from({ length: 20 }, () => turns.begin(question({ userId: "ann" }), true)));
    expect(all.map(({ begun }) => begun)).toEqual(
      all.map(() => ({ seq: 2, status: "in_progress", systemPrompt: null, stopped: [] })),
    );
  });

  it("books the turn on the conversation's owner and the question on its sender", async () => {
    const { input } = await turns.begin(question({ userId: "ann" }), true);
    await turns.begin(another(input, { self: "root", sees: "all", userId: "root", senderId: "root" }));
    const { conversation, messages, turns: ledger } = await turns.stored(input.conversationId);
    expect(conversation?.userId).toBe("ann");
    expect(ledger.map(({ userId }) => userId)).toEqual(["ann", "ann"]);
    expect(messages.map(({ senderId }) => senderId)).toEqual(["ann", null, "root", null]);
  });
});
