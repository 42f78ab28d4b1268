import { describe, expect, it } from "vitest";
import { deleteConversation } from "../../src/core/conversation-deletion.ts";
import { endOf, outcomeOf } from "../../src/core/follow.ts";
import type { Actor } from "../../src/core/identity.ts";
import { openTurn, readAlternatives } from "../../src/core/rows.ts";
import { beginTurn } from "../../src/core/turns.ts";
import { saveText } from "../../src/core/upkeep.ts";
import type { Db } from "../../src/db/db.ts";
import { as, change, NOW, newConversation, newUser, send, startInstance } from "../support/core-instance.ts";
import { eventually } from "../support/core-models.ts";
import { follow, refTo } from "../support/core-readers.ts";
import { databases } from "../support/databases.ts";
import { openBoth } from "../support/db-handles.ts";

describe.each(databases)("a turn that runs elsewhere, on $database", ({ fresh }) => {
  let db: Db;
  let other: Db;
  openBoth(fresh, (handles) => ({ db, other } = handles));

  /** A turn whose model is held, and a process that does not run it. */
  async function given(wanted = 1) {
    const deps = startInstance(db);
    const conversation = await newConversation(db);
    const turn = await send(deps, conversation, "Who are you?", { wanted, key: { key: "mine", requestHash: "same" } });
    const calls = [];
    for (let i = 1; i <= wanted; i++) calls.push(await deps.models.call(i));
    const elsewhere = startInstance(other);
    const seenBy = (actor: Actor) => refTo(turn, actor);
    return { deps, conversation, turn, calls, elsewhere, seenBy };
  }

  const missing = { code: "not_found" };

  it("is told to its owner, and to nobody else", async () => {
    const { conversation, calls, elsewhere, seenBy } = await given();
    const strangers = [newUser(), as("agent", "eve"), as("admin", "root", "somebody else")];
    for (const stranger of strangers) {
      await expect(follow(elsewhere, seenBy(stranger)).done).rejects.toMatchObject(missing);
      await expect(endOf(elsewhere, seenBy(stranger))).rejects.toMatchObject(missing);
      expect(await openTurn(other, stranger, conversation.id)).toBeUndefined();
    }
    expect((await openTurn(other, conversation.owner, conversation.id))?.id).toBe(seenBy(conversation.owner).turnId);
    calls[0]?.end("Me");
    expect(await outcomeOf(elsewhere, seenBy(conversation.owner))).toMatchObject({ content: "Me" });
  });

  it("tells nothing more to who may no longer see its conversation, whoever asks how", async () => {
    const { deps, conversation, calls, elsewhere, seenBy } = await given();
    const { owner, id } = conversation;
    const reader = follow(elsewhere, seenBy(owner));
    const over = Promise.allSettled([reader.done, outcomeOf(elsewhere, seenBy(owner))]);
    calls[0]?.say("For the owner");
    await eventually(async () => {
      await saveText(deps);
      expect(reader.client.text).toBe("For the owner");
    });
    const next = newUser();
    await change(db, id, { userId: next.userId });
    calls[0]?.end(" who is next");
    expect(await over).toMatchObject([{ reason: missing }, { reason: missing }]);
    expect(reader.client.text).toBe("For the owner");
    expect(await outcomeOf(elsewhere, seenBy(next))).toMatchObject({ content: "For the owner who is next" });
    const again = { conversationId: id, content: "Who are you?", model: undefined };
    const key = { key: "mine", requestHash: "same" };
    await expect(beginTurn(elsewhere, owner, { ...again, key })).rejects.toMatchObject(missing);
  });

  it("still ends for its owner when its conversation is deleted, and is nobody else's then", async () => {
    const { conversation, elsewhere, seenBy } = await given();
    const { owner, id } = conversation;
    await deleteConversation(db, owner, { id, now: NOW });
    for (const actor of [owner, as("admin", "root")]) {
      expect((await endOf(elsewhere, seenBy(actor))).turn).toMatchObject({ error: { code: "turn_cancelled" } });
    }
    for (const actor of [newUser(), as("agent", "eve"), as("admin", "root", "somebody else")]) {
      await expect(endOf(elsewhere, seenBy(actor))).rejects.toMatchObject(missing);
    }
  });

  it("shows its other answers to its owner alone", async () => {
    const { conversation, turn, calls, seenBy } = await given(2);
    for (const [i, call] of calls.entries()) call.end(`Answer ${i}`);
    await turn.ended;
    expect(await readAlternatives(other, seenBy(conversation.owner))).toHaveLength(1);
    expect(await readAlternatives(other, seenBy(newUser()))).toEqual([]);
  });
});
