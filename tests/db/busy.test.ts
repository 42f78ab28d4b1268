import { describe, expect, it } from "vitest";
import { isConflict } from "../../src/db/db.ts";
import { codeOf } from "../../src/db/postgres-errors.ts";
import { refusal } from "../support/db-handles.ts";
import { nextId } from "../support/db-ids.ts";
import { marksOf } from "../support/db-marks.ts";
import { commitsIn, openSqlite } from "../support/db-sqlite.ts";

describe("a SQLite database that another program holds", () => {
  it("is waited for, by the batches that were there and by those that come meanwhile, and then commits them at once", async () => {
    const opened = openSqlite();
    const { db, outside } = opened;
    const { put, read } = marksOf();
    const before = commitsIn(opened);
    outside.exec("begin immediate");
    let done = 0;
    const store = (id: string) => db.batch([put(id)]).then(() => void done++);
    const [first, late] = [[nextId(), nextId()], nextId()];
    const waiting = first.map(store);
    await new Promise((resolve) => setImmediate(resolve)); // that was the first try
    waiting.push(store(late));
    await new Promise((resolve) => setImmediate(resolve));
    expect(done).toBe(0);
    outside.exec("rollback");
    await Promise.all(waiting);
    expect((await read(db)).map(({ id }) => id)).toEqual([...first, late]);
    expect(commitsIn(opened) - before).toBe(1);
  });

  it("can be read meanwhile", async () => {
    const { db, outside } = openSqlite();
    const { put, read } = marksOf();
    const id = nextId();
    await db.batch([put(id)]);
    outside.exec("begin immediate; delete from tombstones");
    expect(await read(db)).toEqual([{ id, rev: 0 }]);
    outside.exec("commit");
    expect(await read(db)).toEqual([]);
  });

  it("fails those that waited when it stays busy, stores nothing of them, and takes the next batch after that", async () => {
    const { db, client, outside } = openSqlite();
    client.pragma("busy_timeout = 0"); // each try still has its pause; without this it would be six seconds
    const { put, read } = marksOf();
    outside.exec("begin immediate");
    const errors = await Promise.all([nextId(), nextId()].map((id) => refusal(db.batch([put(id)]))));
    for (const error of errors) {
      expect(codeOf(error)).toMatch(/^SQLITE_BUSY/);
      expect(isConflict(error)).toBe(false);
    }
    const patient = nextId();
    const next = db.batch([put(patient)]);
    outside.exec("rollback");
    await next;
    expect(await read(db)).toEqual([{ id: patient, rev: 0 }]);
  });

  it("is waited for as long each time: what was waited before counts for nothing", async () => {
    const { db, client, outside } = openSqlite();
    client.pragma("busy_timeout = 0");
    const { put, read } = marksOf();
    const ids = [nextId(), nextId(), nextId()];
    for (const id of ids) {
      outside.exec("begin immediate");
      setTimeout(() => outside.exec("rollback"), 600);
      await db.batch([put(id)]);
    }
    expect((await read(db)).map((row) => row.id)).toEqual(ids);
  });
});
