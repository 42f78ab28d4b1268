import type Database from "better-sqlite3";
import { describe, expect, it } from "vitest";
import { migrations } from "../../drizzle/migrations.ts";
import { type Migration, migrateSqlite } from "../../src/db/migrate.ts";
import { connect, connectPlainly, freshPath } from "../support/db-sqlite.ts";

const shipped = migrations.sqlite;
const next = (sql: string[]): readonly Migration[] => [...shipped, { tag: "next", when: 2, sha256: "next", sql }];

/** A database with one row in each table that has a parent or is one. */
function filled(): Database.Database {
  const client = connect();
  migrateSqlite(client);
  client.exec(`
    insert into conversations (id, user_id, created_at, updated_at) values ('c', 'ann', 1, 1);
    insert into messages (id, conversation_id, seq, rev, role, content, status, created_at)
      values ('m', 'c', 1, 1, 'user', 'Hello', 'completed', 1);
    insert into message_extensions (id, message_id, type, data, created_at) values ('e', 'm', 'note', '{}', 1);
  `);
  return client;
}

const ids = (client: Database.Database) =>
  ["conversations", "messages", "message_extensions"].map((table) =>
    client.prepare(`select id from ${table}`).pluck().all(),
  );

/** A rebuild of a table with a CHECK more, as drizzle-kit writes it. */
function rebuildOf(client: Database.Database, table: string): string[] {
  const ddl = String(client.prepare("select sql from sqlite_schema where name = ?").pluck().get(table));
  const columns = client.pragma(`table_info(${table})`) as { name: string }[];
  const names = columns.map(({ name }) => `"${name}"`).join(", ");
  return [
    "PRAGMA foreign_keys=OFF;",
    ddl
      .replace(new RegExp(`[\`"]${table}[\`"]`), `\`__new_${table}\``)
      .replace(/\)$/, `,\n\tCONSTRAINT "rebuilt" CHECK("id" <> 'no')\n)`),
    `INSERT INTO \`__new_${table}\`(${names}) SELECT ${names} FROM \`${table}\`;`,
    `DROP TABLE \`${table}\`;`,
    `ALTER TABLE \`__new_${table}\` RENAME TO \`${table}\`;`,
    "PRAGMA foreign_keys=ON;",
  ];
}

describe("migrating SQLite", () => {
  it.each(["conversations", "messages"])("keeps the children of %s when that is rebuilt", (table) => {
    const client = filled();
    migrateSqlite(client, next(rebuildOf(client, table)));
    expect(ids(client)).toEqual([["c"], ["m"], ["e"]]);
    const rebuilt = client.prepare("select sql from sqlite_schema where name = ?").pluck();
    expect(rebuilt.get(table)).toContain("rebuilt");
    client.exec("delete from conversations");
    expect(ids(client)).toEqual([[], [], []]);
  });

  it("refuses a migration that leaves rows without their parent, and undoes it", () => {
    const client = filled();
    const orphaning = next(["delete from conversations"]);
    expect(() => migrateSqlite(client, orphaning)).toThrow(new Error("migration left 1 rows without their parent"));
    expect(ids(client)).toEqual([["c"], ["m"], ["e"]]);
    expect(client.prepare("select count(*) from __drizzle_migrations").pluck().get()).toBe(shipped.length);
  });

  it.each([
    { ends: "well", sql: ["create table more (id integer)"] },
    { ends: "badly", sql: ["create table more (id integer)", "no sql"] },
    { ends: "by ending the transaction itself", sql: ["create table more (id integer)", "rollback", "no sql"] },
  ])("minds foreign keys again, and has no transaction open, where it ends $ends", ({ sql }) => {
    const client = filled();
    try {
      migrateSqlite(client, next(sql));
    } catch (error) {
      expect(String(error)).toContain("syntax error");
    }
    expect(client.inTransaction).toBe(false);
    expect(client.pragma("foreign_keys", { simple: true })).toBe(1);
    expect(() => client.exec("update messages set conversation_id = 'nobody'")).toThrow(/FOREIGN KEY/);
  });

  it("migrates once where two starters come to one new file", () => {
    const path = freshPath();
    const [first, second] = [connect(path), connect(path)];
    migrateSqlite(first);
    migrateSqlite(second);
    expect(second.prepare("select hash from __drizzle_migrations").pluck().all()).toEqual(
      shipped.map(({ sha256 }) => sha256),
    );
  });

  it("shows nothing of a migration to others before all of it is there", () => {
    const path = freshPath();
    const client = connect(path);
    const outside = connectPlainly(path);
    const seen: unknown[] = [];
    client.function("look", () => {
      seen.push(outside.prepare("select count(*) from sqlite_schema").pluck().get());
      return 1;
    });
    migrateSqlite(client, next(["select look()"]));
    expect(seen).toEqual([0]);
    expect(outside.prepare("select count(*) from sqlite_schema").pluck().get()).toBeGreaterThan(0);
  });
});
