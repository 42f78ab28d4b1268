import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Shown } from "../../src/core/context.ts";
import { newId } from "../../src/core/id.ts";
import { findMessages, readMessages } from "../../src/core/messages.ts";
import { readContext } from "../../src/core/running.ts";
import type { Db } from "../../src/db/db.ts";
import type { Message } from "../../src/db/tables.ts";
import { as, NOW, newConversation } from "../support/core-instance.ts";
import { listMessages } from "../support/core-pages.ts";
import { databases, open } from "../support/databases.ts";

describe.each(databases)("messages on $database", ({ fresh }) => {
  let db: Db;
  beforeAll(async () => {
    db = await open(await fresh());
  });
  afterAll(() => db.close());

  /** A conversation that holds these messages, in order, with seq from 1. */
  async function given(messages: Partial<Message>[], isLive = false) {
    const conversation = await newConversation(db, { isLive });
    const rows = messages.map((message, i) => ({
      id: newId(),
      conversationId: conversation.id,
      seq: i + 1,
      rev: i + 1,
      role: "user" as const,
      senderId: null,
      content: `message ${i + 1}`,
      status: "completed" as const,
      createdAt: NOW,
      ...message,
    }));
    for (let i = 0; i < rows.length; i += 100) await db.insert(db.tables.messages).values(rows.slice(i, i + 100));
    return conversation;
  }

  it("are read in parts that end with the message that fills them up", async () => {
    const long = { content: "x".repeat(40_000) };
    const { id, owner } = await given([long, long, { content: "x".repeat(100_000) }, ...many(201)]);
    const { span } = await findMessages(db, owner, { conversationId: id, limit: 500 });
    const parts = await Array.fromAsync(readMessages(db, owner, span));
    expect(parts.map((rows) => rows.length)).toEqual([2, 1, 200, 1]);
    expect(parts.flat().map(({ seq }) => seq)).toEqual(Array.from({ length: 204 }, (_, i) => i + 1));
  });

  const many = (count: number): Partial<Message>[] => Array.from({ length: count }, () => ({}));

  describe("that lists show", () => {
    it("are the newest so many, oldest first, and where older ones follow, the way to them", async () => {
      const { owner, id } = await given(many(5));
      const { rows, next } = await listMessages(db, owner, { conversationId: id, limit: 3 });
      expect(rows.map(({ seq }) => seq)).toEqual([3, 4, 5]);
      expect(next).toBe(3);
      expect(await listMessages(db, owner, { conversationId: id, limit: 3, before: 3 })).toEqual({
        rows: [expect.objectContaining({ seq: 1 }), expect.objectContaining({ seq: 2 })],
        next: null,
      });
    });

    it.each([1, 3, 22, 23, 24])("are all met once by walking back in pages of %i", async (limit) => {
      const { owner, id } = await given(many(23));
      const met: number[] = [];
      let before: number | undefined;
      do {
        const page = await listMessages(db, owner, { conversationId: id, limit, before });
        expect(page.rows.length).toBeLessThanOrEqual(limit);
        met.unshift(...page.rows.map(({ seq }) => seq));
        before = page.next ?? undefined;
      } while (before !== undefined);
      expect(met).toEqual(Array.from({ length: 23 }, (_, i) => i + 1));
    });

    it("are what was said: not what failed, is still written, was deleted or superseded, nor what the system noted", async () => {
      const { owner, id } = await given([
        { content: "question" },
        { role: "assistant", content: "answer" },
        { role: "assistant", content: "half an ans", status: "incomplete" },
        { role: "agent", content: "agent's words", senderId: "eve" },
        { role: "assistant", content: "", status: "failed" },
        { role: "assistant", content: "", status: "incomplete" },
        { role: "assistant", content: "being writ", status: "in_progress" },
        { content: "deleted", deletedAt: NOW },
        { role: "assistant", content: "superseded", supersededAt: NOW },
        { role: "system", content: "a note" },
      ]);
      const { rows } = await listMessages(db, owner, { conversationId: id, limit: 20 });
      expect(rows.map(({ content }) => content)).toEqual(["question", "answer", "half an ans", "agent's words"]);
    });

    it("fill their page also where others stand between them", async () => {
      const { owner, id } = await given(many(12).map((_, i) => (i % 3 === 0 ? {} : { deletedAt: NOW })));
      const page = await listMessages(db, owner, { conversationId: id, limit: 2 });
      expect(page.rows.map(({ seq }) => seq)).toEqual([7, 10]);
      expect(page.next).toBe(7);
    });

    it("are none for who may not see the conversation, and none of another one", async () => {
      const { owner, id } = await given([{ content: "own" }]);
      const live = await given([{ content: "live" }], true);
      const seenBy = async (actor: Parameters<typeof listMessages>[1], conversationId: string) =>
        (await listMessages(db, actor, { conversationId, limit: 9 })).rows.map((row) => row.content);
      expect(await seenBy(owner, id)).toEqual(["own"]);
      expect(await seenBy(as("admin", "root"), id)).toEqual(["own"]);
      expect(await seenBy(owner, live.id)).toEqual([]);
      expect(await seenBy(as("admin", "root", owner.userId), live.id)).toEqual([]);
      expect(await seenBy(as("agent", "eve"), id)).toEqual([]);
      expect(await seenBy(as("agent", "eve"), live.id)).toEqual(["live"]);
    });
  });

  describe("that a model may be shown", () => {
    const never = () => false;

    it("are those below a place, newest first, without notes of the system and what failed or is gone", async () => {
      const { id } = await given([
        { content: "question" },
        { role: "assistant", content: "half an ans", status: "incomplete" },
        { content: "deleted", deletedAt: NOW },
        { role: "assistant", content: "superseded", supersededAt: NOW },
        { role: "assistant", content: "", status: "failed" },
        { role: "system", content: "a note" },
        { role: "agent", content: "agent's words", senderId: "eve" },
        { role: "assistant", content: "being writ", status: "in_progress" },
        { content: "later" },
      ]);
      const { newestFirst, older } = await readContext(db, { conversationId: id, before: 9, enough: never });
      expect(newestFirst).toEqual([
        expect.objectContaining({ role: "agent", senderId: "eve", content: "agent's words" }),
        expect.objectContaining({ role: "assistant", content: "half an ans" }),
        expect.objectContaining({ role: "user", content: "question" }),
      ]);
      expect(older).toBe(0);
    });

    it.each([1, 199, 200, 201, 400, 450])("are all read where there are %i and none is enough", async (count) => {
      const { id } = await given(many(count));
      const { newestFirst, older } = await readContext(db, { conversationId: id, before: count + 1, enough: never });
      expect(newestFirst.map(({ content }) => content)).toEqual(
        Array.from({ length: count }, (_, i) => `message ${count - i}`),
      );
      expect(older).toBe(0);
    });

    it.each([
      { count: 450, wanted: 1 },
      { count: 450, wanted: 201 },
      { count: 200, wanted: 200 },
    ])("are read until $wanted of $count are enough, and the rest is counted", async ({ count, wanted }) => {
      const { id } = await given([...many(count - 1), { content: "newest" }, { content: "gone", deletedAt: NOW }]);
      const enough = (read: readonly Shown[]) => read.length >= wanted;
      const { newestFirst, older } = await readContext(db, { conversationId: id, before: count + 2, enough });
      expect(newestFirst[0]?.content).toBe("newest");
      expect(newestFirst.length).toBeGreaterThanOrEqual(wanted);
      expect(newestFirst.length).toBeLessThanOrEqual(wanted + 200);
      expect(newestFirst.length + older).toBe(count);
    });
  });
});
