import { eq } from "drizzle-orm";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { deleteConversation } from "../../src/core/conversation-deletion.ts";
import { countConversations, getConversation } from "../../src/core/conversations.ts";
import { wholeAnswer } from "../../src/core/follow.ts";
import { newId } from "../../src/core/id.ts";
import { stopLive } from "../../src/core/live.ts";
import type { Db } from "../../src/db/db.ts";
import { NOBODY_TO_TELL } from "../../src/db/outbox-tables.ts";
import { messagesOf, NOW, newConversation, send, startInstance, turnRow, turnsOf } from "../support/core-instance.ts";
import { answering, eventually } from "../support/core-models.ts";
import { databases, open } from "../support/databases.ts";

const notFound = expect.objectContaining({ code: "not_found" });

describe.each(databases)("deleting a conversation on $database", ({ fresh }) => {
  let db: Db;
  beforeAll(async () => {
    db = await open(await fresh());
  });
  afterAll(() => db.close());

  const tombstonesOf = (id: string) => db.select().from(db.tables.tombstones).where(eq(db.tables.tombstones.id, id));

  it("removes its messages with all that hangs on them, and leaves a tombstone with its last rev", async () => {
    const conversation = await newConversation(db);
    const other = await newConversation(db);
    const deps = startInstance(db, answering());
    const turn = await send(deps, conversation, "Hello");
    await wholeAnswer(deps, turn);
    await wholeAnswer(deps, await send(deps, other, "Hello too"));
    const extension = {
      id: newId(),
      messageId: turn.answerId,
      type: "reaction",
      data: { emoji: "👍" },
      createdAt: NOW,
    };
    await db.insert(db.tables.messageExtensions).values(extension);
    const { rev } = await conversation.read();

    const { owner, id } = conversation;
    expect(await deleteConversation(db, owner, { id, now: NOW + 7 })).toEqual([]);
    await expect(getConversation(db, owner, id)).rejects.toEqual(notFound);
    expect(await messagesOf(db, id)).toEqual([]);
    expect(await db.select().from(db.tables.messageExtensions)).toEqual([]);
    expect(await tombstonesOf(id)).toEqual([
      { id, userId: "", rev: rev + 1, told: NOBODY_TO_TELL, mirrored: NOBODY_TO_TELL, deletedAt: NOW + 7 },
    ]);
    expect(await countConversations(db, owner)).toBe(0);
    expect(await messagesOf(db, other.id)).toHaveLength(2);
  });

  it("is done once: the second time there is nothing to delete", async () => {
    const { owner, id } = await newConversation(db);
    const both = await Promise.allSettled([1, 2].map((now) => deleteConversation(db, owner, { id, now })));
    expect(both.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
    await expect(deleteConversation(db, owner, { id, now: NOW })).rejects.toEqual(notFound);
    expect(await tombstonesOf(id)).toHaveLength(1);
  });

  it("keeps its turns as a ledger, fails those that were open and names them", async () => {
    const conversation = await newConversation(db);
    const deps = startInstance(db);
    const done = await send(deps, conversation, "First");
    (await deps.models.call(1)).end("Yes");
    await wholeAnswer(deps, done);
    const open = [await send(deps, conversation, "Second"), await send(deps, conversation, "Third")];
    const finished = await turnRow(db, done);

    const { owner, id } = conversation;
    const cancelled = await deleteConversation(db, owner, { id, now: NOW + 7 });
    expect(cancelled.sort()).toEqual(open.map(({ turnId }) => turnId).sort());
    expect(await turnRow(db, done)).toEqual(finished);
    for (const turn of open) {
      expect(await turnRow(db, turn)).toMatchObject({
        conversationId: id,
        status: "failed",
        error: { code: "turn_cancelled", detail: expect.any(String) },
        leaseUntil: null,
        completedAt: NOW + 7,
      });
    }
    expect(await turnsOf(db, id)).toHaveLength(3);
  });

  it("stops the provider of its running turn, and all who wait hear that it was cancelled", async () => {
    const conversation = await newConversation(db);
    const deps = startInstance(db);
    const turns = [await send(deps, conversation, "First"), await send(deps, conversation, "Second")];
    const waiting = turns.map((turn) => wholeAnswer(deps, turn).catch((error: unknown) => error));
    const call = await deps.models.call(1);
    call.say("Half an");

    const { owner, id } = conversation;
    stopLive(deps.live, await deleteConversation(db, owner, { id, now: NOW }));
    expect(call.signal.aborted).toBe(true);
    const heard = await Promise.all(waiting);
    expect(heard).toEqual(
      turns.map(({ turnId }) =>
        expect.objectContaining({ code: "turn_cancelled", details: expect.objectContaining({ turnId }) }),
      ),
    );
    expect(deps.models.calls).toHaveLength(1);
    expect(await messagesOf(db, id)).toEqual([]);
    await eventually(() => expect(deps.live.turns.size).toBe(0));
    expect(deps.logged).toEqual([]);
  });
});
