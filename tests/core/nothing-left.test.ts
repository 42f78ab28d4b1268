import { randomUUID } from "node:crypto";
import { eq } from "drizzle-orm";
import { describe, expect, it } from "vitest";
import { clearLeft } from "../../src/core/clearing.ts";
import { deleteConversation } from "../../src/core/conversation-deletion.ts";
import { getConversation } from "../../src/core/conversations.ts";
import { wholeAnswer } from "../../src/core/follow.ts";
import { getEnd, seenTurn } from "../../src/core/rows.ts";
import type { Db } from "../../src/db/db.ts";
import {
  as,
  messagesOf,
  NOW,
  newConversation,
  openForTest,
  send,
  startInstance,
  turnsOf,
} from "../support/core-instance.ts";
import { answering } from "../support/core-models.ts";
import { databases } from "../support/databases.ts";
import { openScene, sayEverywhere, storedIn, timesOnDisk, type Who } from "../support/erasure-scene.ts";

const ANN: Who = ["ann"];
const notFound = expect.objectContaining({ code: "not_found" });

/** Long enough for three parts. */
const MANY = 450;

describe.each(databases)("of a deleted conversation on $database", ({ database, fresh }) => {
  it("no word is left, in keys and turns neither, nor in what Stream Chat has told", async () => {
    const url = await fresh();
    const scene = await openScene(url);
    const word = `Quokka${randomUUID()}`;
    const { id } = await sayEverywhere(scene, ANN, word);
    const e = scene.db.tables.streamEvents;
    const told = { type: "message.new", channel_id: id, message: { text: word } };
    await scene.db.insert(e).values({ id: randomUUID(), event: told, receivedAt: 1, retryAt: 9e12 });
    expect((await storedIn(scene)).split(word).length).toBeGreaterThan(10);
    expect((await scene.call(ANN, "DELETE", `/chats/${id}`)).status).toBe(204);
    expect(await storedIn(scene)).not.toContain(word);
    for (const row of await scene.db.select().from(e))
      expect(row).toMatchObject({ event: null, error: "conversation_deleted" });
    const asked = { chat_id: id, message: `What is ${word}?`, system_prompt: `You are ${word}.` };
    const again = [["/chats", { title: `A title, ${word}` }, "chat"] as const, ["/chat", asked, "turn"] as const];
    for (const [path, body, key] of again) {
      expect((await scene.call(ANN, "POST", path, body, key)).status).toBe(404);
    }
    if (database === "Postgres") return;
    expect(timesOnDisk(url, word)).toBeGreaterThan(0); // in the log
    await scene.db.settleErasure();
    expect(timesOnDisk(url, word)).toBe(0);
  });

  async function longOne(db: Db) {
    const conversation = await newConversation(db);
    const deps = startInstance(db, answering());
    const turn = await send(deps, conversation, "Hello", { options: { systemPrompt: "secret" } });
    await wholeAnswer(deps, turn);
    const { rev } = await conversation.read();
    const rows = Array.from({ length: MANY }, (_, i) => ({
      ...{
        id: randomUUID(),
        conversationId: conversation.id,
        seq: rev + 1 + i,
        rev: rev + 1 + i,
        role: "user" as const,
      },
      ...{ senderId: conversation.owner.self, content: `Line ${i}`, status: "completed" as const, createdAt: NOW },
    }));
    await db.insert(db.tables.messages).values(rows);
    return { ...conversation, turn };
  }

  it("all messages go, however many, in parts of which each is a commit of its own", async () => {
    const db = await openForTest(await fresh());
    const { owner, id } = await longOne(db);
    let commits = 0;
    const counted: Db = {
      ...db,
      batch(steps) {
        commits++;
        return db.batch(steps);
      },
    };
    await deleteConversation(counted, owner, { id, now: NOW });
    expect(commits).toBe(3);
    expect(await messagesOf(db, id)).toEqual([]);
    expect(await db.select().from(db.tables.conversations)).toEqual([]);
    expect(await turnsOf(db, id)).toMatchObject([{ options: null }]);
  });

  it("nobody finds anything from the first commit on, and whoever comes later finishes what broke off", async () => {
    const db = await openForTest(await fresh());
    const { owner, id, turn } = await longOne(db);
    let commits = 0;
    const broken: Db = {
      ...db,
      batch: (steps) => (commits++ > 0 ? Promise.reject(new Error("lost")) : db.batch(steps)),
    };
    await expect(deleteConversation(broken, owner, { id, now: NOW })).rejects.toThrow("lost");
    expect((await messagesOf(db, id)).length).toBe(MANY + 2 - 200);
    for (const who of [owner, as("admin", "root"), as("agent", "bob")]) {
      await expect(getConversation(db, who, id)).rejects.toEqual(notFound);
      await expect(deleteConversation(db, who, { id, now: NOW })).rejects.toEqual(notFound);
    }
    const [row] = await db.select().from(db.tables.conversations).where(eq(db.tables.conversations.id, id));
    expect(row).toMatchObject({ userId: "", title: null, lastMessage: null, metadata: null, isLive: false });
    const [kept] = await turnsOf(db, id);
    if (kept) expect((await getEnd(db, seenTurn(owner, kept))).content).toBe("");
    await clearLeft(db, NOW); // it may still be under way
    expect(await messagesOf(db, id)).not.toEqual([]);
    await clearLeft(db, NOW + 1);
    expect(await messagesOf(db, id)).toEqual([]);
    expect(await db.select().from(db.tables.conversations)).toEqual([]);
    expect(turn.turnId).toBe(kept?.id);
  });
});
