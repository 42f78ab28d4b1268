import { eq, isNull } from "drizzle-orm";
import { describe, expect, it } from "vitest";
import { statement, step } from "../../src/db/db.ts";
import { databases } from "../support/databases.ts";
import { useDatabase } from "../support/db-handles.ts";
import { nextId } from "../support/db-ids.ts";

const insertRow = statement(["id", "title", "isLive", "metadata", "time"], (db, $) =>
  db.insert(db.tables.conversations).values({
    id: $.id,
    userId: "ann",
    title: $.title,
    isLive: $.isLive,
    metadata: $.metadata,
    createdAt: $.time,
    updatedAt: $.time,
  }),
);

const selectRow = statement(["id"], (db, $) => {
  const t = db.tables.conversations;
  return db.select().from(t).where(eq(t.id, $.id));
});

const readClock = statement([], (db) => db.select({ now: db.now }).from(db.tables.conversations).limit(1));

describe.each(databases)("every table on $database", ({ fresh }) => {
  const handles = useDatabase(fresh);

  it("is there, as the code knows it", async () => {
    const { db } = handles;
    for (const table of Object.values(db.tables)) expect(await db.select().from(table as never)).toEqual([]);
  });
});

describe.each(databases)("the size of a message on $database", ({ fresh }) => {
  const handles = useDatabase(fresh);

  it("is the bytes of its text in UTF-8, also after the text has changed", async () => {
    const { conversations: c, messages: m } = handles.db.tables;
    const [conversationId, id] = [nextId(), nextId()];
    const message = { id, conversationId, seq: 1, rev: 1, role: "user", status: "completed", createdAt: 1 } as const;
    await handles.db.insert(c).values({ id: conversationId, userId: "ann", createdAt: 1, updatedAt: 1 });
    await handles.db.insert(m).values({ ...message, content: "Größe 🐘" });
    const sizes = () => handles.db.select({ size: m.size }).from(m).where(eq(m.id, id));
    expect(await sizes()).toEqual([{ size: 12 }]);
    await handles.db.update(m).set({ content: "" }).where(eq(m.id, id));
    expect(await sizes()).toEqual([{ size: 0 }]);
  });
});

describe.each(databases)("a row on $database", ({ fresh }) => {
  const handles = useDatabase(fresh);

  async function roundTrip(set: { title?: string | null; isLive?: boolean; metadata?: object | null; time?: number }) {
    const id = nextId();
    await handles.db.batch([step(insertRow, { id, title: null, isLive: false, metadata: null, time: 1, ...set })]);
    const [row] = await handles.db.all(selectRow, { id });
    return row;
  }

  it.each(["", "null", "Größe 🐘", "a\nb\t\"c\" 'd' \\ $1 ? %", "x".repeat(100_000)])(
    "gives a text back as it was (%#)",
    async (title) => {
      expect((await roundTrip({ title }))?.title).toBe(title);
    },
  );

  it("tells a text that is missing from one that is empty", async () => {
    expect((await roundTrip({ title: null }))?.title).toBeNull();
  });

  it.each([true, false])("gives a flag back as a boolean (%s)", async (isLive) => {
    expect((await roundTrip({ isLive }))?.isLive).toBe(isLive);
  });

  it.each([0, 1, 2 ** 31, 253_402_300_799_999, Number.MAX_SAFE_INTEGER])(
    "gives a time back as a number (%d)",
    async (time) => {
      expect((await roundTrip({ time }))?.createdAt).toBe(time);
    },
  );

  it.each([{}, { a: null }, { list: [1, 2.5, "x", { deep: true }] }, { text: "\" \\ ' 🐘 \u0007" }])(
    "gives JSON back as it was (%j)",
    async (metadata) => {
      expect((await roundTrip({ metadata }))?.metadata).toEqual(metadata);
    },
  );

  it("holds JSON that the database can look into, whether it was stored alone or in a batch of several", async () => {
    const t = handles.db.tables.conversations;
    const row = (id: string) =>
      step(insertRow, { id, title: null, isLive: false, metadata: { tokens: 7, whole: true }, time: 1 });
    const [alone, first, second] = [nextId(), nextId(), nextId()];
    await handles.db.batch([row(alone)]);
    await handles.db.batch([row(first), row(second)]);
    for (const id of [alone, first, second]) {
      const fields = {
        tokens: handles.db.numberIn(t.metadata, "tokens"),
        whole: handles.db.flagIn(t.metadata, "whole"),
      };
      const [found] = await handles.db.select(fields).from(t).where(eq(t.id, id));
      expect([Number(found?.tokens), Boolean(found?.whole)]).toEqual([7, true]);
    }
  });

  it("keeps the order of an object's keys", async () => {
    const metadata = { zebra: 1, a: 2, "10": 3, middle: { z: 1, b: 2 } };
    expect(JSON.stringify((await roundTrip({ metadata }))?.metadata)).toBe(JSON.stringify(metadata));
  });

  it("stores missing JSON as NULL, bound or spelled out", async () => {
    const t = handles.db.tables.conversations;
    const bound = await roundTrip({ metadata: null });
    const id = nextId();
    await handles.db.insert(t).values({ id, userId: "ann", metadata: null, createdAt: 1, updatedAt: 1 });
    const ids = (await handles.db.select({ id: t.id }).from(t).where(isNull(t.metadata))).map((row) => row.id);
    expect(ids).toEqual(expect.arrayContaining([bound?.id, id]));
  });

  it("can be stamped by the database's own clock, in milliseconds", async () => {
    const { tables } = handles.db;
    await roundTrip({});
    const before = Date.now() - 1;
    const [read] = await handles.db.all(readClock, {});
    const [row] = await handles.db
      .insert(tables.idempotencyKeys)
      .values({ userId: "ann", key: nextId(), requestHash: "", expiresAt: handles.db.now })
      .returning();
    const after = Date.now() + 1;
    for (const time of [Number(read?.now), row?.expiresAt]) {
      expect(Number.isInteger(time)).toBe(true);
      expect(time).toBeGreaterThanOrEqual(before);
      expect(time).toBeLessThanOrEqual(after);
    }
  });
});
