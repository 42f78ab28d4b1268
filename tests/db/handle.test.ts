import { asc, eq, sql } from "drizzle-orm";
import { describe, expect, it } from "vitest";
import { statement, step } from "../../src/db/db.ts";
import { databases, open } from "../support/databases.ts";
import { closing, refusal, useDatabase } from "../support/db-handles.ts";
import { nextId } from "../support/db-ids.ts";
import { marksOf } from "../support/db-marks.ts";

/** A statement that tells how often it was built. */
function counted() {
  const built = { times: 0 };
  const select = statement(["id"], (db, $) => {
    built.times++;
    return db
      .select({ rev: db.tables.tombstones.rev })
      .from(db.tables.tombstones)
      .where(eq(db.tables.tombstones.id, $.id));
  });
  return { built, select };
}

describe.each(databases)("a handle on $database", ({ fresh }) => {
  const handles = useDatabase(fresh);

  it("selects, inserts, updates and deletes with Drizzle's verbs, and gives arrays", async () => {
    const { db, other } = handles;
    const t = db.tables.tombstones;
    const userId = nextId();
    const rows = [
      { id: nextId(), userId, rev: 1, told: 0, mirrored: 0, deletedAt: 2 },
      { id: nextId(), userId, rev: 2, told: 1, mirrored: 2, deletedAt: 3 },
    ] as const;
    expect(
      await db
        .insert(t)
        .values([...rows])
        .returning(),
    ).toEqual(rows);
    expect(await db.update(t).set({ rev: 7 }).where(eq(t.id, rows[0].id)).returning({ rev: t.rev })).toEqual([
      { rev: 7 },
    ]);
    expect(await db.delete(t).where(eq(t.id, rows[1].id)).returning({ id: t.id })).toEqual([{ id: rows[1].id }]);
    expect(await db.update(t).set({ rev: 7 }).where(eq(t.id, nextId())).returning()).toEqual([]);
    expect(await db.select().from(t).where(eq(t.userId, userId))).toEqual([{ ...rows[0], rev: 7 }]);
    expect(await other.select().from(t).where(eq(t.userId, userId)).orderBy(asc(t.id))).toHaveLength(1);
  });

  it("builds a statement once, however often and at once it is run", async () => {
    const { built, select } = counted();
    const db = closing(await open(handles.url));
    const { put } = marksOf();
    const id = nextId();
    await db.batch([put(id, 3), step(select, { id }), step(select, { id })]);
    const reads = await Promise.all(Array.from({ length: 20 }, () => db.all(select, { id })));
    expect(reads).toEqual(reads.map(() => [{ rev: 3 }]));
    expect(built.times).toBe(1);
  });

  it("builds its own statements, and goes on when another handle on the database is closed", async () => {
    const { built, select } = counted();
    const second = closing(await open(handles.url));
    const third = await open(handles.url);
    const { put, raise } = marksOf();
    const id = nextId();
    await second.batch([put(id)]);
    await Promise.all([second, third].map((db) => db.batch([raise(id), step(select, { id })])));
    expect(built.times).toBe(2);
    await third.close();
    expect(await second.batch([raise(id), step(select, { id })])).toEqual([[{ rev: 3 }], [{ rev: 3 }]]);
    expect(built.times).toBe(2);
  });

  it("keeps two databases apart", async () => {
    const elsewhere = closing(await open(await fresh()));
    const { put, read } = marksOf();
    const [here, there] = [nextId(), nextId()];
    await Promise.all([handles.db.batch([put(here)]), elsewhere.batch([put(there)])]);
    expect(await read(handles.db)).toEqual([{ id: here, rev: 0 }]);
    expect(await read(elsewhere)).toEqual([{ id: there, rev: 0 }]);
  });

  it("has values bound, never spelled into the statement", async () => {
    const { userId, put, read } = marksOf("'; delete from tombstones; --");
    const id = nextId();
    await handles.db.batch([put(id)]);
    expect(await read(handles.db)).toEqual([{ id, rev: 0 }]);
    expect(await handles.db.select().from(handles.db.tables.tombstones).where(eq(sql`user_id`, userId))).toHaveLength(
      1,
    );
  });

  it("refuses a reading statement that fails, and reads on", async () => {
    const broken = statement(["id"], (db, $) =>
      db.select({ no: sql`no_such_function(${$.id})` }).from(db.tables.tombstones),
    );
    expect(await refusal(handles.db.all(broken, { id: "x" }))).toBeInstanceOf(Error);
    expect(await marksOf().read(handles.db)).toEqual([]);
  });

  it("answers a ping, and neither ping nor batch once it is closed", async () => {
    const db = await open(handles.url);
    expect(await db.ping(5_000)).toBeUndefined();
    const { put, read } = marksOf();
    await db.close();
    expect(await refusal(db.ping(5_000))).toBeInstanceOf(Error);
    expect(await refusal(db.batch([put(nextId())]))).toBeInstanceOf(Error);
    expect(await read(handles.other)).toEqual([]);
  });
});
