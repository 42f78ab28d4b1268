import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { wholeAnswer } from "../../src/core/follow.ts";
import type { Db } from "../../src/db/db.ts";
import {
  begin,
  expectTrueCounts,
  messagesOf,
  NOW,
  newConversation,
  send,
  startInstance,
  turnRow,
} from "../support/core-instance.ts";
import { attempt, TARGET } from "../support/core-models.ts";
import { listMessages } from "../support/core-pages.ts";
import { databases, open } from "../support/databases.ts";

describe.each(databases)("several answers to one question on $database", ({ fresh }) => {
  let db: Db;
  beforeAll(async () => {
    db = await open(await fresh());
  });
  afterAll(() => db.close());

  /** A question that wants three answers, and the three calls that it makes. */
  async function givenThree() {
    const deps = startInstance(db);
    const conversation = await newConversation(db);
    const { owner, id } = conversation;
    const question = { conversationId: id, content: "Which?", model: undefined, wanted: 3 };
    const turn = await begin(deps, owner, question);
    const calls = [await deps.models.call(1), await deps.models.call(2), await deps.models.call(3)] as const;
    return { deps, conversation, turn, calls };
  }

  it("are asked for at the same time, and saved in one go: one in the thread, the others beside it", async () => {
    const { deps, conversation, turn, calls } = await givenThree();
    for (const [i, call] of calls.entries()) call.end(`Answer ${i}`);
    const { content, alternatives } = await wholeAnswer(deps, turn);
    expect([content, ...alternatives.map((one) => one.content)].toSorted()).toEqual([
      "Answer 0",
      "Answer 1",
      "Answer 2",
    ]);
    const { rows } = await listMessages(db, conversation.owner, { conversationId: conversation.id, limit: 9 });
    expect(rows.map((row) => row.content)).toEqual(["Which?", content]);
    const stored = (await messagesOf(db, conversation.id)).slice(2);
    expect(stored.map(({ id }) => id).toSorted()).toEqual(alternatives.map(({ id }) => id).toSorted());
    for (const one of stored) {
      expect(one).toMatchObject({ role: "assistant", status: "completed", model: TARGET, supersededAt: NOW });
      expect(one.turnId).toBe(turn.turnId);
    }
    const { rev, messageCount, lastMessage } = await conversation.read();
    expect({ messageCount, lastMessage }).toEqual({ messageCount: 2, lastMessage: content });
    const revs = (await messagesOf(db, conversation.id)).map((row) => row.rev);
    expect(new Set(revs).size).toBe(4);
    expect(Math.max(...revs)).toBe(rev);
    expect(await turnRow(db, turn)).toMatchObject({
      status: "completed",
      attempts: [attempt, attempt, attempt],
      usage: { input_tokens: 9, output_tokens: 6, estimated: false },
    });
    await expectTrueCounts(db, conversation.id);
  });

  it("are shown to the model later as one", async () => {
    const { deps, conversation, turn, calls } = await givenThree();
    for (const call of calls) call.end("The first");
    await wholeAnswer(deps, turn);
    await send(deps, conversation, "And now?");
    expect((await deps.models.call(4)).messages.map(({ content }) => content)).toEqual([
      "Which?",
      "The first",
      "And now?",
    ]);
  });

  it("are those that came, if some failed", async () => {
    const { deps, conversation, turn, calls } = await givenThree();
    const [first, second, third] = calls;
    first.say("Half");
    first.fail("provider_timeout");
    second.fail("provider_failed");
    third.end("Whole");
    expect(await wholeAnswer(deps, turn)).toMatchObject({ content: "Whole", alternatives: [] });
    expect((await messagesOf(db, conversation.id)).map(({ content }) => content)).toEqual(["Which?", "Whole"]);
    expect(await turnRow(db, turn)).toMatchObject({ status: "completed", error: null });
    await expectTrueCounts(db, conversation.id);
  });

  it("are none, if all failed", async () => {
    const { deps, conversation, turn, calls } = await givenThree();
    for (const call of calls) call.fail("provider_unavailable");
    await expect(wholeAnswer(deps, turn)).rejects.toMatchObject({
      code: "provider_unavailable",
      details: { turnId: turn.turnId, attempts: [attempt, attempt, attempt] },
    });
    expect(await turnRow(db, turn)).toMatchObject({ status: "failed" });
    await expectTrueCounts(db, conversation.id);
  });
});
