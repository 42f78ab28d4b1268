import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { wholeAnswer } from "../../src/core/follow.ts";
import type { LiveTurn } from "../../src/core/live.ts";
import type { Db } from "../../src/db/db.ts";
import {
  expectTrueCounts,
  type Instance,
  messagesOf,
  newConversation,
  send,
  startInstance,
  turnRow,
  turnsOf,
} from "../support/core-instance.ts";
import { answering, answerTo, eventually, testModels } from "../support/core-models.ts";
import { listMessages } from "../support/core-pages.ts";
import { databases, open } from "../support/databases.ts";

describe.each(databases)("the turns of one conversation on $database", ({ fresh }) => {
  let db: Db;
  beforeAll(async () => {
    db = await open(await fresh());
  });
  afterAll(() => db.close());

  /** A running turn, whose model says nothing, and so many behind it. */
  async function givenWaiting(deps: Instance, waiting: number) {
    const conversation = await newConversation(db);
    const turns: LiveTurn[] = [];
    for (let i = 0; i <= waiting; i++) turns.push(await send(deps, conversation, `Question ${i}`));
    return { conversation, turns };
  }

  const statusesOf = (turns: LiveTurn[]) => Promise.all(turns.map(async (turn) => (await turnRow(db, turn)).status));

  it("run one at a time, in the order in which they were stored", async () => {
    const deps = startInstance(db);
    const { conversation, turns } = await givenWaiting(deps, 3);
    for (const [i, turn] of turns.entries()) {
      const call = await deps.models.call(i + 1);
      expect(call.question).toBe(`Question ${i}`);
      expect(await statusesOf(turns)).toEqual(
        turns.map((_, at) => (at < i ? "completed" : at === i ? "in_progress" : "queued")),
      );
      expect(deps.models.calls).toHaveLength(i + 1);
      call.end(`Answer ${i}`);
      expect(await wholeAnswer(deps, turn)).toMatchObject({ content: `Answer ${i}` });
    }
    await expectTrueCounts(db, conversation.id);
  });

  it("do not hold up those of another conversation", async () => {
    const deps = startInstance(
      db,
      testModels((call) => call.question === "Quick" && call.end("Done")),
    );
    await givenWaiting(deps, 1);
    expect(await wholeAnswer(deps, await send(deps, await newConversation(db), "Quick"))).toMatchObject({
      content: "Done",
    });
  });

  it("show the model only what stands before their own answer: no question that waits behind", async () => {
    const deps = startInstance(db);
    const { turns } = await givenWaiting(deps, 2);
    const shown: string[][] = [];
    for (const [i, turn] of turns.entries()) {
      const call = await deps.models.call(i + 1);
      shown.push(call.messages.map(({ content }) => content));
      call.end(`Answer ${i}`);
      await turn.ended;
    }
    expect(shown).toEqual([
      ["Question 0"],
      ["Question 0", "Answer 0", "Question 1"],
      ["Question 0", "Answer 0", "Question 1", "Answer 1", "Question 2"],
    ]);
  });

  it("keep the newest question as the last message, until its own answer is there", async () => {
    const deps = startInstance(db);
    const { conversation, turns } = await givenWaiting(deps, 1);
    for (const [i, turn] of turns.entries()) {
      expect((await conversation.read()).lastMessage).toBe("Question 1");
      (await deps.models.call(i + 1)).end(`Answer ${i}`);
      await turn.ended;
    }
    expect((await conversation.read()).lastMessage).toBe("Answer 1");
  });

  it("are answered in order, though the database's replies overtook each other", async () => {
    const deps = startInstance(db);
    const { conversation, turns } = await givenWaiting(deps, 0);
    const replies: (() => void)[] = [];
    const slow = {
      ...deps,
      db: {
        ...db,
        turnWrites: {
          ...db.turnWrites,
          async begin(...input: Parameters<Db["turnWrites"]["begin"]>) {
            const begun = await db.turnWrites.begin(...input);
            await new Promise<void>((resolve) => replies.push(resolve));
            return begun;
          },
        },
      },
    };
    const second = send(slow, conversation, "Question 1");
    await eventually(() => expect(replies).toHaveLength(1));
    turns.push(await send(deps, conversation, "Question 2")); // stored after it, and heard of before it
    replies[0]?.();
    turns.splice(1, 0, await second);
    (await deps.models.call(1)).end("Answer 0");
    for (const nth of [2, 3]) {
      const call = await deps.models.call(nth);
      expect(call.question).toBe(`Question ${nth - 1}`);
      call.end(`Answer ${nth - 1}`);
    }
    for (const [i, turn] of turns.entries()) expect((await turn.ended).content).toBe(`Answer ${i}`);
  });

  describe("where 16 wait", () => {
    /** A send that finds the queue full, and has looked for room several times. */
    async function givenRefused(deps: Instance) {
      const { conversation, turns } = await givenWaiting(deps, 16);
      const outcome = { settled: false };
      const refused = send(deps, conversation, "One too many").finally(() => {
        outcome.settled = true;
      });
      refused.catch(() => {});
      const { looks } = deps.time;
      await eventually(() => expect(deps.time.looks).toBeGreaterThan(looks + 3));
      expect(outcome.settled).toBe(false);
      return { conversation, turns, refused };
    }

    it("let no more in: after two seconds without room a message is refused, and nothing of it stored", async () => {
      const deps = startInstance(db);
      const { conversation, refused } = await givenRefused(deps);
      const before = await conversation.read();
      expect(before.openTurns).toBe(17);
      deps.time.now += 1_999;
      const { looks } = deps.time;
      await eventually(() => expect(deps.time.looks).toBeGreaterThan(looks + 2));
      deps.time.now += 1;
      await expect(refused).rejects.toMatchObject({ code: "queue_full", details: { retryAfterS: 1 } });
      expect(await conversation.read()).toEqual(before);
      expect((await messagesOf(db, conversation.id)).map(({ content }) => content)).not.toContain("One too many");
      expect(await turnsOf(db, conversation.id)).toHaveLength(17);
    });

    it("let in a message that waited, as soon as there is room", async () => {
      const deps = startInstance(db);
      const { conversation, turns, refused } = await givenRefused(deps);
      (await deps.models.call(1)).end("Answer 0");
      await turns[0]?.ended;
      const late = await refused;
      expect(await turnRow(db, late)).toMatchObject({ status: "queued" });
      expect((await conversation.read()).openTurns).toBe(17);
    });
  });

  it("are all answered once, of 40 messages that are sent at once, in the order in which they were stored", async () => {
    const deps = startInstance(db, answering());
    const conversation = await newConversation(db);
    const questions = Array.from({ length: 40 }, (_, i) => `Question ${i}`);
    const turns = await Promise.all(questions.map((content) => send(deps, conversation, content)));
    const answers = await Promise.all(turns.map((turn) => wholeAnswer(deps, turn)));
    expect(answers.map(({ content }) => content)).toEqual(questions.map(answerTo));

    const inOrder = turns.toSorted((a, b) => a.seq - b.seq).map((turn) => questions[turns.indexOf(turn)] ?? "");
    expect(deps.models.calls.map(({ question }) => question)).toEqual(inOrder);
    const { rows } = await listMessages(db, conversation.owner, { conversationId: conversation.id, limit: 100 });
    expect(rows.map(({ content }) => content)).toEqual(inOrder.flatMap((question) => [question, answerTo(question)]));
    expect(await conversation.read()).toMatchObject({ messageCount: 80, openTurns: 0, rev: 120 });
    await expectTrueCounts(db, conversation.id);
  });

  it("stand in the order in which they were acknowledged, whoever else sends meanwhile", async () => {
    const deps = startInstance(db, answering());
    const conversation = await newConversation(db);
    const turns = await Promise.all(
      ["Ada", "Bob", "Cyd", "Dan"].map(async (sender) => {
        const own: LiveTurn[] = [];
        for (let i = 0; i < 10; i++) own.push(await send(deps, conversation, `${sender} ${i}`));
        return own;
      }),
    );
    for (const own of turns) {
      const seqs = own.map(({ seq }) => seq);
      expect(seqs).toEqual(seqs.toSorted((a, b) => a - b));
    }
    await Promise.all(turns.flat().map((turn) => wholeAnswer(deps, turn)));
    const inOrder = turns.flat().toSorted((a, b) => a.seq - b.seq);
    const rows = await Promise.all(inOrder.map((turn) => turnRow(db, turn)));
    expect(rows.map(({ status }) => status)).toEqual(inOrder.map(() => "completed"));
    expect(deps.models.calls).toHaveLength(40);
    await expectTrueCounts(db, conversation.id);
  });
});
