import { describe, expect, it } from "vitest";
import { migrationsOutOfStep } from "../../drizzle/check.ts";
import { migrations } from "../../drizzle/migrations.ts";
import type { Migration } from "../../src/db/migrate.ts";
import { open } from "../support/databases.ts";
import { closing, refusal } from "../support/db-handles.ts";
import { marksOf } from "../support/db-marks.ts";
import { migrating } from "../support/db-migrations.ts";

const adds = (table: string, when = 2_000_000_000_000): Migration => ({
  tag: table,
  when,
  sha256: `hash of ${table}`,
  sql: [`create table ${table} (id integer primary key)`, `insert into ${table} (id) values (1)`],
});
const broken: Migration = {
  ...adds("broken"),
  sql: ["create table broken (id integer)", "insert into nowhere values (1)"],
};

describe("the migrations", () => {
  it("are what the tables say, and what is embedded", { timeout: 120_000 }, () => {
    expect(migrationsOutOfStep()).toEqual([]);
  });
});

describe.each(migrating)("migrating $database", ({ dialect, fresh, connect }) => {
  const shipped = migrations[dialect];

  it("makes every table in a fresh database and records each migration", async () => {
    const url = await fresh();
    const db = closing(await open(url));
    for (const table of Object.values(db.tables)) expect(await db.select().from(table)).toEqual([]);
    const { applied } = await connect(url).look();
    expect(applied).toEqual(shipped.map(({ sha256, when }) => ({ hash: sha256, created_at: when })));
  });

  it("does nothing the second time", async () => {
    const url = await fresh();
    const { put, read } = marksOf();
    const db = closing(await open(url));
    await db.batch([put("01990b5e-7c1a-7d2e-9f3a-4b5c6d7e8f90")]);
    const before = await connect(url).look();
    const again = closing(await open(url));
    expect(await read(again)).toHaveLength(1);
    expect(await connect(url).look()).toEqual(before);
  });

  it("applies what is new, in the order of the list, also what was merged with an older time", async () => {
    const { migrate, look } = connect(await fresh());
    await migrate([adds("second", 2)]);
    await migrate([adds("first", 1), adds("second", 2), adds("third", 3)]);
    const { tables, applied } = await look();
    expect(tables).toEqual(["first", "second", "third"]);
    expect(applied.map(({ hash }) => hash)).toEqual(["hash of second", "hash of first", "hash of third"]);
  });

  it("refuses a database that is newer, says so, and changes nothing in it", async () => {
    const { migrate, look } = connect(await fresh());
    await migrate([...shipped, adds("of_tomorrow")]);
    const before = await look();
    const error = await refusal(migrate([...shipped, adds("of_today")]));
    expect(error).toEqual(new Error("the database is newer than this Parley: 1 of its migrations are unknown here"));
    expect(await look()).toEqual(before);
  });

  it("does not open a database that is newer", async () => {
    const url = await fresh();
    const { migrate, look } = connect(url);
    await migrate([...shipped, adds("of_tomorrow"), adds("of_the_day_after")]);
    const before = await look();
    expect(String(await refusal(open(url)))).toContain("newer than this Parley: 2 of its migrations are unknown");
    expect(await look()).toEqual(before);
  });

  it("leaves nothing behind in a fresh database when a migration fails, and can be run again", async () => {
    const { migrate, look } = connect(await fresh());
    expect(String(await refusal(migrate([...shipped, broken])))).toContain("nowhere");
    expect(await look()).toEqual({ tables: [], applied: [] });
    await migrate([...shipped, adds("mended")]);
    expect((await look()).tables).toContain("mended");
  });

  it("leaves nothing of what is pending behind when one of it fails, and all that was there", async () => {
    const url = await fresh();
    const { put, read } = marksOf();
    await closing(await open(url)).batch([put("01990b5e-7c1a-7d2e-9f3a-4b5c6d7e8f90")]);
    const { migrate, look } = connect(url);
    const before = await look();
    const drops: Migration = { ...adds("drops"), sql: ["drop table tombstones"] };
    await refusal(migrate([...shipped, adds("good"), drops, broken]));
    expect(await look()).toEqual(before);
    expect(await read(closing(await open(url)))).toHaveLength(1);
  });
});
