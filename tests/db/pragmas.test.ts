import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { sql } from "drizzle-orm";
import { describe, expect, it } from "vitest";
import type { Db } from "../../src/db/db.ts";
import { openDatabase } from "../../src/db/index.ts";
import { migrateSqlite } from "../../src/db/migrate.ts";
import { closing } from "../support/db-handles.ts";
import { connect, freshPath } from "../support/db-sqlite.ts";

const pragmas = {
  journal_mode: "wal",
  busy_timeout: 250,
  foreign_keys: 1,
  cache_size: -16_000,
  temp_store: 2, // in memory
  secure_delete: 1,
  wal_autocheckpoint: 1_000,
};

/** What a pragma of one value stands at, seen through the handle itself. */
async function pragmaOf(db: Db, name: "synchronous" | "foreign_keys"): Promise<unknown> {
  const [row] = await db.select({ value: sql.raw(name) }).from(sql.raw(`pragma_${name}`));
  return row?.value;
}

describe("a SQLite connection", () => {
  it.each(Object.entries(pragmas))("has %s at %s, before and after its migration", (name, value) => {
    const client = connect();
    expect(client.pragma(name, { simple: true })).toBe(value);
    migrateSqlite(client);
    expect(client.pragma(name, { simple: true })).toBe(value);
  });

  it.each([
    { synchronous: "full", level: 2 },
    { synchronous: "normal", level: 1 },
  ] as const)("has synchronous at $level for $synchronous", async ({ synchronous, level }) => {
    expect(connect(freshPath(), synchronous).pragma("synchronous", { simple: true })).toBe(level);
    const db = closing(await openDatabase({ dialect: "sqlite", path: freshPath() }, { synchronous }));
    expect(await pragmaOf(db, "synchronous")).toBe(level);
  });

  it("survives a loss of power unless told otherwise, and minds foreign keys", async () => {
    const db = closing(await openDatabase({ dialect: "sqlite", path: freshPath() }));
    expect(await pragmaOf(db, "synchronous")).toBe(2);
    expect(await pragmaOf(db, "foreign_keys")).toBe(1);
  });

  it("makes the folders on the way to its file", async () => {
    const path = join(dirname(freshPath()), `folders-${process.hrtime.bigint()}`, "of", "two words", "parley.db");
    const db = closing(await openDatabase({ dialect: "sqlite", path }));
    await db.ping(1_000);
    expect(existsSync(path)).toBe(true);
  });

  it("gives up a file that stays busy, after the time that is read back above", () => {
    const path = freshPath();
    connect(path).exec("begin immediate");
    const second = connect(path);
    expect(() => second.exec("begin immediate")).toThrow(expect.objectContaining({ code: "SQLITE_BUSY" }));
  });
});
