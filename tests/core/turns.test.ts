import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { getConversation, listConversations } from "../../src/core/conversations.ts";
import { wholeAnswer } from "../../src/core/follow.ts";
import type { Db } from "../../src/db/db.ts";
import {
  as,
  begin,
  expectTrueCounts,
  makeConversation,
  messagesOf,
  NOW,
  newConversation,
  newUser,
  send,
  startInstance,
  turnRow,
} from "../support/core-instance.ts";
import { answering, attempt, eventually, TARGET, testModels } from "../support/core-models.ts";
import { listMessages } from "../support/core-pages.ts";
import { databases, open } from "../support/databases.ts";

describe.each(databases)("a turn on $database", ({ fresh }) => {
  let db: Db;
  let witness: Db;
  beforeAll(async () => {
    const url = await fresh();
    db = await open(url);
    witness = await open(url); // sees what was committed, and nothing else
  });
  afterAll(() => Promise.all([db.close(), witness.close()]));

  it("without a conversation makes one that is titled by its question", async () => {
    const deps = startInstance(db);
    const owner = newUser();
    const turn = await begin(deps, owner, { conversationId: null, content: "What can\nyou do?", model: undefined });
    const call = await deps.models.call(1);
    deps.time.now = NOW + 30;
    call.say("Every");
    call.end("thing.");
    expect(await wholeAnswer(deps, turn)).toMatchObject({
      content: "Everything.",
      model: TARGET,
      completedAt: NOW + 30,
    });
    expect(await getConversation(db, owner, turn.conversationId)).toMatchObject({
      userId: owner.userId,
      title: "What can you do?",
      lastMessage: "Everything.",
      messageCount: 2,
      openTurns: 0,
      rev: 3,
      createdAt: NOW,
      updatedAt: NOW + 30,
    });
    expect((await listConversations(db, owner, { limit: 5 })).rows.map(({ id }) => id)).toEqual([turn.conversationId]);
  });

  it("stores question, answer and what it took", async () => {
    const deps = startInstance(db, answering());
    const owner = newUser();
    const turn = await begin(deps, owner, { conversationId: null, content: "Hello", model: "other" });
    await wholeAnswer(deps, turn);
    const shared = { conversationId: turn.conversationId, turnId: turn.turnId, status: "completed", createdAt: NOW };
    expect(await messagesOf(db, turn.conversationId)).toEqual([
      expect.objectContaining({ ...shared, id: turn.questionId, seq: 1, rev: 1, role: "user", content: "Hello" }),
      expect.objectContaining({ ...shared, id: turn.answerId, seq: 2, rev: 3, role: "assistant", model: TARGET }),
    ]);
    expect(await turnRow(db, turn)).toMatchObject({
      userId: owner.userId,
      userMessageId: turn.questionId,
      messageId: turn.answerId,
      status: "completed",
      model: "other",
      target: TARGET,
      restarts: 0,
      finishReason: "stop",
      usage: { input_tokens: 3, output_tokens: 2, estimated: false },
      attempts: [attempt],
      error: null,
      context: { messages: 1, omitted: 0, estimated_tokens: 6 },
      leaseUntil: null,
      createdAt: NOW,
      completedAt: NOW,
    });
  });

  it("goes on with a conversation: the model is shown what was said, the title stays", async () => {
    const deps = startInstance(db, answering());
    const conversation = await newConversation(db);
    await wholeAnswer(deps, await send(deps, conversation, "My name is Ada."));
    expect(await wholeAnswer(deps, await send(deps, conversation, "Who am I?"))).toMatchObject({
      content: "Answer to Who am I?",
    });
    expect(deps.models.calls[1]?.messages).toEqual([
      { role: "user", content: "My name is Ada." },
      { role: "assistant", content: "Answer to My name is Ada." },
      { role: "user", content: "Who am I?" },
    ]);
    expect(await conversation.read()).toMatchObject({ title: "My name is Ada.", messageCount: 4, rev: 6 });
    const { rows } = await listMessages(db, conversation.owner, { conversationId: conversation.id, limit: 9 });
    expect(rows.map(({ seq, role }) => [seq, role])).toEqual([
      [1, "user"],
      [2, "assistant"],
      [4, "user"],
      [5, "assistant"],
    ]);
  });

  it("leaves a title alone that the conversation was given", async () => {
    const owner = newUser();
    const { id } = await makeConversation(db, owner, { title: "Chess" });
    const deps = startInstance(db, answering());
    await wholeAnswer(deps, await send(deps, { owner, id }, "Hello"));
    expect((await getConversation(db, owner, id)).title).toBe("Chess");
  });

  it("is told the conversation's system prompt, else the service's", async () => {
    const deps = { ...startInstance(db, answering()), systemPrompt: "Be brief." };
    for (const [own, told] of [[null, "Be brief."] as const, ["Be kind.", "Be kind."] as const]) {
      await wholeAnswer(deps, await send(deps, await newConversation(db, { systemPrompt: own }), "Hello"));
      expect(deps.models.calls.at(-1)?.messages[0]).toEqual({ role: "system", content: told });
    }
  });

  it("is asked in the name of who sent it", async () => {
    const deps = startInstance(db, answering());
    const { owner, id } = await newConversation(db);
    const root = as("admin", "root");
    await wholeAnswer(deps, await send(deps, { owner, id }, "Mine"));
    await wholeAnswer(deps, await send(deps, { owner: root, id }, "The admin's"));
    await wholeAnswer(deps, await send(deps, { owner: as("admin", "root", owner.userId), id }, "For the user"));
    const questions = (await messagesOf(db, id)).filter(({ role }) => role === "user");
    expect(questions.map(({ senderId }) => senderId)).toEqual([owner.userId, "root", owner.userId]);
  });

  it("has its question committed before the model is called, and shown to readers at once", async () => {
    const seen: unknown[] = [];
    const models = testModels(async (call) => {
      const [row] = (await listConversations(witness, owner, { limit: 1 })).rows;
      if (row)
        seen.push(
          await getConversation(witness, owner, row.id),
          await messagesOf(witness, row.id),
          await turnRow(witness, await begun),
        );
      call.end("Yes");
    });
    const owner = newUser();
    const question = { conversationId: null, content: "Are you there?", model: undefined };
    const deps = startInstance(db, models);
    const begun = begin(deps, owner, question);
    await wholeAnswer(deps, await begun);
    expect(seen).toEqual([
      expect.objectContaining({
        messageCount: 1,
        openTurns: 1,
        lastMessage: "Are you there?",
        title: "Are you there?",
      }),
      [
        expect.objectContaining({ role: "user", content: "Are you there?", status: "completed", seq: 1 }),
        expect.objectContaining({ role: "assistant", content: "", status: "in_progress", seq: 2 }),
      ],
      expect.objectContaining({ status: "in_progress", leaseUntil: expect.any(Number) }),
    ]);
  });

  it("has a lease by the database's clock while it is open", async () => {
    const deps = startInstance(db);
    deps.time.now = 5; // an instance whose clock is wrong
    const conversation = await newConversation(db);
    const turns = [await send(deps, conversation, "One"), await send(deps, conversation, "Two")];
    for (const turn of turns) {
      const { leaseUntil } = await turnRow(db, turn);
      expect(leaseUntil).toBeGreaterThan(Date.now());
      expect(leaseUntil).toBeLessThanOrEqual(Date.now() + 10_000);
    }
  });

  it("is finished and stored though its caller waits no longer", async () => {
    const deps = startInstance(db);
    const conversation = await newConversation(db);
    const turn = await send(deps, conversation, "Are you there?");
    const caller = new AbortController();
    const left = new Promise((resolve) => caller.signal.addEventListener("abort", resolve));
    const waited = Promise.race([wholeAnswer(deps, turn), left.then(() => "gone")]);
    const call = await deps.models.call(1);
    caller.abort();
    expect(await waited).toBe("gone");
    expect(call.signal.aborted).toBe(false);
    call.end("Yes");
    await eventually(async () => expect(await turnRow(db, turn)).toMatchObject({ status: "completed" }));
    expect((await messagesOf(db, conversation.id)).at(-1)).toMatchObject({ content: "Yes", status: "completed" });
    await expectTrueCounts(db, conversation.id);
    await eventually(() => expect(deps.live.turns.size + deps.live.lines.size).toBe(0));
  });
});
