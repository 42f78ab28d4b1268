import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { AppError } from "../../src/core/errors.ts";
import { wholeAnswer } from "../../src/core/follow.ts";
import type { LiveTurn } from "../../src/core/live.ts";
import type { TurnError } from "../../src/core/model.ts";
import { beginTurn } from "../../src/core/turns.ts";
import type { Db } from "../../src/db/db.ts";
import {
  expectTrueCounts,
  messagesOf,
  NOW,
  newConversation,
  newUser,
  send,
  startInstance,
  turnRow,
} from "../support/core-instance.ts";
import { answering, attempt, TARGET, testModels } from "../support/core-models.ts";
import { listMessages } from "../support/core-pages.ts";
import { databases, open } from "../support/databases.ts";

const codes: TurnError["code"][] = [
  "provider_failed",
  "provider_unavailable",
  "provider_timeout",
  "content_refused",
  "context_too_long",
  "turn_cancelled",
];

describe.each(databases)("on $database", ({ fresh }) => {
  let db: Db;
  beforeAll(async () => {
    db = await open(await fresh());
  });
  afterAll(() => db.close());

  const listed = async ({ owner, id }: Awaited<ReturnType<typeof newConversation>>) =>
    (await listMessages(db, owner, { conversationId: id, limit: 9 })).rows.map(({ content }) => content);

  describe.each(codes)("a turn that ends with %s", (code) => {
    it("before any text says so, with the turn and its attempts, and keeps the question", async () => {
      const deps = startInstance(db);
      const conversation = await newConversation(db);
      const turn = await send(deps, conversation, "Are you there?");
      (await deps.models.call(1)).fail(code);
      const error = await wholeAnswer(deps, turn).catch((thrown: AppError) => thrown);
      expect(error).toMatchObject({ code, message: `${code}.`, details: { turnId: turn.turnId, attempts: [attempt] } });
      expect(await listed(conversation)).toEqual(["Are you there?"]);
      expect(await conversation.read()).toMatchObject({
        messageCount: 1,
        openTurns: 0,
        lastMessage: "Are you there?",
        updatedAt: NOW,
      });
      expect((await messagesOf(db, conversation.id)).at(-1)).toMatchObject({ status: "failed", content: "" });
      expect(await turnRow(db, turn)).toMatchObject({
        status: "failed",
        target: TARGET,
        finishReason: null,
        attempts: [attempt],
        error: { code, detail: `${code}.` },
        leaseUntil: null,
        completedAt: NOW,
      });
    });

    it("after some text keeps and lists it, and yet is no success", async () => {
      const deps = startInstance(db);
      const conversation = await newConversation(db);
      const turn = await send(deps, conversation, "Are you there?");
      const call = await deps.models.call(1);
      call.say("Well, ");
      call.say("I am ");
      call.fail(code);
      await expect(wholeAnswer(deps, turn)).rejects.toMatchObject({ code, details: { turnId: turn.turnId } });
      expect(await listed(conversation)).toEqual(["Are you there?", "Well, I am "]);
      expect(await conversation.read()).toMatchObject({ messageCount: 2, openTurns: 0, lastMessage: "Well, I am " });
      expect((await messagesOf(db, conversation.id)).at(-1)).toMatchObject({ status: "incomplete", model: TARGET });
      expect(await turnRow(db, turn)).toMatchObject({ status: "incomplete", error: { code }, finishReason: null });
    });
  });

  it("only what is unavailable is to be tried again soon", async () => {
    for (const code of codes) {
      const failing = testModels((call) => call.fail(code));
      const deps = startInstance(db, failing);
      const turn = await send(deps, await newConversation(db), "Hi");
      const { details } = await wholeAnswer(deps, turn).catch((error) => error);
      expect(details.retryAfterS, code).toBe(code === "provider_unavailable" ? 5 : undefined);
    }
  });

  it("a conversation goes on after a failure: what failed is not shown to the model, what was cut off is", async () => {
    const deps = startInstance(db);
    const conversation = await newConversation(db);
    const turns: LiveTurn[] = [];
    for (const content of ["One", "Two", "Three"]) turns.push(await send(deps, conversation, content));
    (await deps.models.call(1)).fail("provider_failed");
    const second = await deps.models.call(2);
    second.say("Half");
    second.fail("provider_timeout");
    const third = await deps.models.call(3);
    third.end("Whole");
    await Promise.all(turns.map((turn) => turn.ended));
    expect(third.messages).toEqual([
      { role: "user", content: "One\n\nTwo" },
      { role: "assistant", content: "Half" },
      { role: "user", content: "Three" },
    ]);
    await expectTrueCounts(db, conversation.id);
  });

  describe("nothing is stored, and no model is called,", () => {
    async function expectNothingStored(conversation: Awaited<ReturnType<typeof newConversation>>, code: string) {
      const deps = startInstance(db, answering());
      const before = await conversation.read();
      await expect(send(deps, conversation, "Hello?")).rejects.toMatchObject({ code });
      expect(await conversation.read()).toEqual(before);
      expect(await messagesOf(db, conversation.id)).toEqual([]);
      expect(deps.live.turns.size).toBe(0);
      expect(deps.models.calls).toEqual([]);
    }

    it("where the model is unknown", async () => {
      const deps = startInstance(db, answering());
      const { owner, id, read } = await newConversation(db);
      const before = await read();
      for (const conversationId of [id, null]) {
        const question = { conversationId, content: "Hello?", model: "gpt-17" };
        await expect(beginTurn(deps, owner, question)).rejects.toMatchObject({
          code: "validation_failed",
          details: { errors: [{ path: "model" }] },
        });
      }
      expect(await read()).toEqual(before);
      const all = await db.select().from(db.tables.conversations);
      expect(all.filter(({ userId }) => userId === owner.userId)).toHaveLength(1);
      expect(deps.models.calls).toEqual([]);
    });

    it("where the conversation has ended", async () => {
      await expectNothingStored(await newConversation(db, { status: "ended", endedAt: NOW }), "session_ended");
      const endedWithAgent = { status: "ended", control: "agent", endedAt: NOW } as const;
      await expectNothingStored(await newConversation(db, endedWithAgent), "session_ended");
    });

    it.each(["agent", "queue"] as const)("where the control is with the %s", async (control) => {
      await expectNothingStored(await newConversation(db, { status: "transferred", control }), "session_with_agent");
    });

    it("where the conversation is somebody else's, ended or not", async () => {
      for (const status of ["active", "ended"] as const) {
        const foreign = { ...(await newConversation(db, { status })), owner: newUser() };
        await expectNothingStored(foreign, "not_found");
      }
    });
  });
});
