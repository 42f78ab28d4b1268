import { eq } from "drizzle-orm";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { regenerate } from "../../src/core/answers.ts";
import { cancelTurn } from "../../src/core/cancel.ts";
import type { LiveTurn } from "../../src/core/live.ts";
import type { Db } from "../../src/db/db.ts";
import {
  expectTrueCounts,
  messagesOf,
  NOW,
  newConversation,
  ours,
  send,
  startInstance,
  turnRow,
} from "../support/core-instance.ts";
import { eventually } from "../support/core-models.ts";
import { pick, randomFrom } from "../support/core-random.ts";
import { databases, open } from "../support/databases.ts";

const roles = ["user", "assistant"];

type End = { text: "" | "Answer" | "Half"; by: "itself" | "failure" | "stop" };

const ends = [
  { text: "Answer", by: "itself" },
  { text: "Answer", by: "itself" },
  { text: "", by: "failure" },
  { text: "Half", by: "failure" },
  { text: "", by: "stop" },
  { text: "Half", by: "stop" },
] as const satisfies End[];

describe.each(databases)("what the model is shown of a thread on $database", ({ fresh }) => {
  let db: Db;
  beforeAll(async () => {
    db = await open(await fresh());
  });
  afterAll(() => db.close());

  /** A conversation whose questions are answered, or not, as they are told; every third loses a message. */
  async function thread(seed: number) {
    const random = randomFrom(seed);
    const deps = startInstance(db);
    const conversation = await newConversation(db);
    const { owner, id } = conversation;
    let calls = 0;

    async function end(turn: LiveTurn, { text, by }: End): Promise<void> {
      const call = await deps.models.call(++calls);
      if (text) call.say(`${text} ${calls}`);
      await eventually(() => expect(turn.progress.standing.text !== "").toBe(text !== ""));
      if (by === "itself") call.end();
      else if (by === "failure") call.fail("provider_failed");
      else await cancelTurn(deps, owner, turn.turnId);
      await turn.ended;
    }

    async function loseOne(but: string): Promise<void> {
      const all = (await messagesOf(db, id)).filter((message) => message.id !== but);
      const m = db.tables.messages;
      const [gone] = all.slice(random(all.length));
      if (gone) await db.update(m).set({ deletedAt: NOW }).where(eq(m.id, gone.id)); // as deleting one will do it
    }

    for (let i = 0; i < 12; i++) {
      const turn = await send(deps, conversation, `Question ${i}`);
      await end(turn, pick(random, ends));
      if (random(3) === 0) {
        const again = await regenerate(deps, owner, { messageId: turn.answerId, model: undefined, key: null });
        await end(ours(again), pick(random, ends));
      }
      if (random(3) === 0) await loseOne(turn.questionId);
    }
    return { deps, stored: await messagesOf(db, id) };
  }

  it("alternates from a user to the question, whatever has failed, was cancelled, deleted or superseded before it", async () => {
    for (const seed of [1, 2, 3, 4, 5]) {
      const { deps, stored } = await thread(seed);
      for (const { messages } of deps.models.calls) {
        expect(messages.map(({ role }) => role)).toEqual(messages.map((_, i) => roles[i % 2]));
        expect(messages.at(-1)?.role).toBe("user");
        for (const { content } of messages) expect(content).toMatch(/\S/);
      }
      const shown = deps.models.calls.at(-1)?.messages.flatMap(({ content }) => content.split("\n\n"));
      const superseded = stored.filter(({ supersededAt, content }) => supersededAt !== null && content !== "");
      for (const { content } of superseded) expect(shown).not.toContain(content);
    }
  });

  it("is written down with the turn, with what was left out of it; mending the roles changes nothing stored", async () => {
    const deps = startInstance(db);
    const conversation = await newConversation(db);
    const failed = await send(deps, conversation, "Question 0");
    (await deps.models.call(1)).fail("provider_failed");
    await failed.ended;
    const turn = await send(deps, conversation, "Question 1");
    const call = await deps.models.call(2);
    expect(call.messages).toEqual([{ role: "user", content: "Question 0\n\nQuestion 1" }]);
    const answer = "word ".repeat(2_000);
    call.end(answer);
    await turn.ended;
    expect((await turnRow(db, turn)).context).toEqual({
      messages: 2,
      omitted: 0,
      estimated_tokens: expect.any(Number),
    });
    expect((await messagesOf(db, conversation.id)).map(({ content }) => content)).toEqual([
      "Question 0",
      "",
      "Question 1",
      answer,
    ]);
    const long = await send(deps, conversation, "word ".repeat(4_000));
    (await deps.models.call(3)).end("Long");
    await long.ended;
    expect((await turnRow(db, long)).context).toMatchObject({ messages: 1, omitted: 3 });
    await expectTrueCounts(db, conversation.id);
  });
});
