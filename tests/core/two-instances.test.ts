import { beforeEach, describe, expect, it } from "vitest";
import { deleteConversation } from "../../src/core/conversation-deletion.ts";
import { wholeAnswer } from "../../src/core/follow.ts";
import { drainTurns } from "../../src/core/launch.ts";
import { sweepTurns } from "../../src/core/recovery.ts";
import { changeSession } from "../../src/core/sessions.ts";
import { renewLeases } from "../../src/core/upkeep.ts";
import type { Db } from "../../src/db/db.ts";
import {
  expectTrueCounts,
  lapse,
  messagesOf,
  NOW,
  newConversation,
  openForTest,
  send,
  startInstance,
  turnRow,
} from "../support/core-instance.ts";
import { givenLine } from "../support/core-line.ts";
import { answering, answerTo, testModels } from "../support/core-models.ts";
import { listMessages } from "../support/core-pages.ts";
import { freshPostgres } from "../support/databases.ts";

describe("two instances on one Postgres", () => {
  let a: Db;
  let b: Db;
  beforeEach(async () => {
    const url = await freshPostgres();
    a = await openForTest(url);
    b = await openForTest(url);
  });

  it("answer the messages of one conversation in the order in which they were stored, whoever took them", async () => {
    const models = testModels((call) => call.question !== "Question 0" && call.end(answerTo(call.question)));
    const [first, second] = [startInstance(a, models), startInstance(b, models)];
    const conversation = await newConversation(a);
    const questions = Array.from({ length: 7 }, (_, i) => `Question ${i}`);
    const turns = [];
    for (const [i, question] of questions.entries()) {
      turns.push(await send(i % 2 === 0 ? first : second, conversation, question));
    }
    (await models.call(1)).end(answerTo("Question 0"));
    expect(await Promise.all(turns.map((turn) => wholeAnswer(first, turn)))).toEqual(
      questions.map((question) => expect.objectContaining({ content: answerTo(question) })),
    );
    expect(models.calls.map(({ question }) => question)).toEqual(questions);
    await expectTrueCounts(a, conversation.id);
  });

  it("answer each of many messages once that reach both at the same time, one at a time", async () => {
    let running = 0;
    const models = testModels((call) => {
      expect(++running).toBe(1);
      queueMicrotask(() => {
        running--;
        call.end(answerTo(call.question));
      });
    });
    const instances = [startInstance(a, models), startInstance(b, models)];
    const conversation = await newConversation(a);
    const questions = Array.from({ length: 12 }, (_, i) => `Question ${i}`);
    const turns = await Promise.all(
      questions.map((question, i) => send(instances[i % 2] ?? startInstance(a), conversation, question)),
    );
    const answers = await Promise.all(turns.map((turn) => wholeAnswer(startInstance(b), turn)));
    expect(answers.map(({ content }) => content)).toEqual(questions.map(answerTo));
    const { rows } = await listMessages(a, conversation.owner, { conversationId: conversation.id, limit: 50 });
    const asked = rows.filter(({ role }) => role === "user").map(({ content }) => content);
    expect(models.calls.map(({ question }) => question)).toEqual(asked);
    expect(asked.toSorted()).toEqual(questions.toSorted());
    await expectTrueCounts(a, conversation.id);
  });

  it("see one history: what one has answered, the other shows to its model", async () => {
    const [first, second] = [startInstance(a, answering()), startInstance(b, answering())];
    const conversation = await newConversation(a);
    await wholeAnswer(first, await send(first, conversation, "My name is Ada."));
    await wholeAnswer(second, await send(second, conversation, "Who am I?"));
    expect(second.models.calls[0]?.messages.map(({ content }) => content)).toEqual([
      "My name is Ada.",
      answerTo("My name is Ada."),
      "Who am I?",
    ]);
  });

  it("close a lost turn once, and take over one in line once, though both sweep at the same moment", async () => {
    const given = await Promise.all(Array.from({ length: 8 }, () => givenLine(a, 1)));
    for (const { kill } of given) await kill();
    const models = answering();
    const [first, second] = [startInstance(a, models), startInstance(b, models)];
    await Promise.all([sweepTurns(first), sweepTurns(second)]);
    await Promise.all([drainTurns(first.live, 10_000), drainTurns(second.live, 10_000)]);
    expect(models.calls).toHaveLength(8);
    for (const { running, line, conversation } of given) {
      expect(await turnRow(a, running)).toMatchObject({ status: "failed", restarts: 1 });
      for (const turn of line) expect(await turnRow(b, turn)).toMatchObject({ status: "completed", restarts: 0 });
      expect(await conversation.read()).toMatchObject({ openTurns: 0, messageCount: 3, rev: 6 });
      await expectTrueCounts(b, conversation.id);
    }
  });

  it("a turn that one runs and the other's user deletes is stopped when its lease comes up, and is not written", async () => {
    const first = startInstance(a);
    const conversation = await newConversation(a);
    const turn = await send(first, conversation, "Are you there?");
    const call = await first.models.call(1);
    call.say("Well,");
    await deleteConversation(b, conversation.owner, { id: conversation.id, now: NOW });
    await renewLeases(first);
    expect(call.signal.aborted).toBe(true);
    await expect(wholeAnswer(first, turn)).rejects.toMatchObject({ code: "turn_cancelled" });
    expect(await messagesOf(b, conversation.id)).toEqual([]);
    expect(await turnRow(b, turn)).toMatchObject({ status: "failed", completedAt: NOW });
  });

  it("a late writer changes nothing in what the other has closed and gone on with", async () => {
    const [slow, quick] = [startInstance(a), startInstance(b, answering())];
    const conversation = await newConversation(a);
    const turn = await send(slow, conversation, "Question 0");
    const call = await slow.models.call(1);
    await lapse(b, turn);
    await sweepTurns(quick);
    await wholeAnswer(quick, await send(quick, conversation, "Question 1"));
    const before = [await conversation.read(), await messagesOf(b, conversation.id)];
    call.end("Too late");
    expect(await turn.ended).toMatchObject({ turn: { status: "failed" }, content: "" });
    expect([await conversation.read(), await messagesOf(b, conversation.id)]).toEqual(before);
  });

  it("a turn in line that is handed over is told so, though it was read as it stood before", async () => {
    const first = startInstance(a);
    const held = Promise.withResolvers<void>();
    const read = Promise.withResolvers<void>();
    const isRow = (values: object) => Object.keys(values).join() === "turnId";
    const all: Db["all"] = async (statement, values) => {
      const rows = await b.all(statement, values);
      if (!isRow(values)) return rows;
      read.resolve();
      await held.promise;
      return rows;
    };
    const second = startInstance({ ...b, all });
    const conversation = await newConversation(a);
    await send(first, conversation, "Question 0");
    const turn = await send(second, conversation, "Question 1");
    await read.promise;
    await changeSession(second, conversation.owner, { id: conversation.id, move: { to: "agent", agentId: null } });
    held.resolve();
    expect((await turn.ended).turn).toMatchObject({ status: "failed", error: { code: "turn_cancelled" } });
  });
});
