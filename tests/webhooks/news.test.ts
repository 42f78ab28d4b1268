import { eq } from "drizzle-orm";
import { describe, expect, it } from "vitest";
import type { Db } from "../../src/db/db.ts";
import type { Message } from "../../src/db/tables.ts";
import { createClaims } from "../../src/outbox/claims.ts";
import { WEBHOOK } from "../../src/outbox/ledger.ts";
import { newsOf } from "../../src/webhooks/news.ts";
import { databases } from "../support/databases.ts";
import { useDatabase } from "../support/db-handles.ts";
import { nextId } from "../support/db-ids.ts";

/** A conversation at a revision, told up to another, with these messages, each at the revision of its place. */
async function given(db: Db, set: { rev: number; told: number; messages: Partial<Message>[] }): Promise<string> {
  const { conversations, messages } = db.tables;
  const [id, { rev, told }] = [nextId(), set];
  await db.insert(conversations).values({ id, userId: "ada", rev, told, createdAt: 1, updatedAt: 1 });
  const whole = { role: "user", content: "Hello", status: "completed", createdAt: 1, conversationId: id } as const;
  const rows = set.messages.map((one, i) => ({ ...whole, id: nextId(), seq: i + 1, rev: i + 1, ...one }));
  await db.insert(messages).values(rows);
  return id;
}

/** Every delivery until all is told, as a receiver would get them that takes each at once. */
async function tellAll(db: Db, id: string) {
  const c = db.tables.conversations;
  const told = [];
  for (let news = await nextNews(db, id); news; news = await nextNews(db, id)) {
    told.push({ ...news, data: JSON.parse(news.body).data });
    await db.update(c).set({ told: news.rev }).where(eq(c.id, id));
  }
  return told;
}

async function nextNews(db: Db, id: string) {
  const untold = await createClaims(WEBHOOK).untold(db, id);
  return untold && { ...(await newsOf(db, untold)), after: untold.after };
}

const contentsOf = (data: { messages: { content: string }[] }) => data.messages.map(({ content }) => content);

describe.each(databases)("news of a conversation on $database", ({ fresh }) => {
  const handles = useDatabase(fresh);

  it("that is long come in parts of a hundred messages, in order, without gap or overlap", async () => {
    const { db } = handles;
    const messages = Array.from({ length: 250 }, (_, i) => ({ content: `${i}` }));
    const parts = await tellAll(db, await given(db, { rev: 251, told: -1, messages }));
    expect(parts.map(({ after, rev }) => [after, rev])).toEqual([
      [-1, 100],
      [100, 200],
      [200, 251],
    ]);
    expect(parts.flatMap(({ data }) => contentsOf(data))).toEqual(messages.map(({ content }) => content));
    expect(new Set(parts.map(({ id }) => id)).size).toBe(3);
    for (const { data } of parts) expect(data.session.rev).toBe(251);
  });

  it("come in parts of a quarter of a megabyte; what is larger by itself comes alone", async () => {
    const { db } = handles;
    const sizes = [100_000, 100_000, 100_000, 400_000, 10];
    const messages = sizes.map((size) => ({ content: "x".repeat(size) }));
    const parts = await tellAll(db, await given(db, { rev: 5, told: 0, messages }));
    expect(parts.map(({ data }) => contentsOf(data).map(({ length }) => length))).toEqual([
      [100_000, 100_000],
      [100_000],
      [400_000],
      [10],
    ]);
  });

  it("never tear what changed at one revision", async () => {
    const { db } = handles;
    const messages = Array.from({ length: 120 }, (_, i) => ({ rev: i < 90 ? i + 1 : 91 }));
    const parts = await tellAll(db, await given(db, { rev: 91, told: 0, messages }));
    expect(parts.map(({ rev, data }) => [rev, data.messages.length])).toEqual([
      [90, 90],
      [91, 30],
    ]);
  });

  it("leave out what was told, and have the same id and body until something changes", async () => {
    const { db } = handles;
    const messages = [{ content: "old" }, { content: "new" }];
    const id = await given(db, { rev: 2, told: 1, messages });
    const news = await nextNews(db, id);
    expect(contentsOf(JSON.parse(news?.body ?? "").data)).toEqual(["new"]);
    expect(await nextNews(db, id)).toEqual(news);
    const c = db.tables.conversations;
    await db.update(c).set({ rev: 3, title: "Renamed" }).where(eq(c.id, id));
    expect((await nextNews(db, id))?.id).not.toBe(news?.id);
  });

  it("have no text of an answer that is being made, which takes no revision as it grows", async () => {
    const { db } = handles;
    const messages = [{ role: "assistant", status: "in_progress", content: "Once upon" } as const];
    const news = await nextNews(db, await given(db, { rev: 1, told: 0, messages }));
    expect(JSON.parse(news?.body ?? "").data.messages).toMatchObject([{ status: "in_progress", content: "" }]);
  });

  it("are none where all is told", async () => {
    const { db } = handles;
    expect(await nextNews(db, await given(db, { rev: 1, told: 1, messages: [{}] }))).toBeNull();
    expect(await nextNews(db, nextId())).toBeNull();
  });
});
