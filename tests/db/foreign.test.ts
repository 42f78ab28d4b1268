import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { describe, expect, inject, it } from "vitest";
import { reasonOf } from "../../src/secrets.ts";
import { freshPostgres, open } from "../support/databases.ts";
import { closing, refusal } from "../support/db-handles.ts";
import { connectPostgres } from "../support/db-postgres.ts";
import { freshFolder } from "../support/models-launch.ts";

const REFUSED = /^is not a database of Parley: .*another application.*; it is left as it is$/;
const DRIZZLE = "(id integer primary key, hash text not null, created_at numeric)";

/** Every file of a folder, with a digest of what is in it. */
const contents = (folder: string) =>
  readdirSync(folder).map((name) => [
    name,
    createHash("sha256")
      .update(readFileSync(join(folder, name)))
      .digest("hex"),
  ]);

describe("a SQLite file of another application", () => {
  it.each([
    ["tables of the same names", "create table conversations (id); create table messages (id)"],
    ["other tables", "create table alembic_version (version_num); create table users (id)"],
    ["a journal of another kind", "create table users (id); create table __drizzle_migrations (id, name)"],
    ["a journal without entries", `create table users (id); create table __drizzle_migrations ${DRIZZLE}`],
    [
      "a journal of its own migrations",
      `create table messages (id); create table __drizzle_migrations ${DRIZZLE};
       insert into __drizzle_migrations (hash, created_at) values ('of theirs', 1)`,
    ],
  ])("with %s is refused at each try, and nothing is changed, nor left beside it", async (_, sql) => {
    const folder = freshFolder();
    const path = join(folder, "theirs.db");
    new Database(path).exec(sql).close();
    const before = contents(folder);
    for (let i = 0; i < 2; i++) expect(reasonOf(await refusal(open(path)))).toMatch(REFUSED);
    expect(contents(folder)).toEqual(before);
  });
});

describe("a Postgres database of another application", () => {
  const tablesOf = async (client: ReturnType<typeof connectPostgres>) =>
    client`select schemaname, tablename from pg_tables where schemaname not in ('pg_catalog', 'information_schema')`;

  it("with a table of one of our names is refused, and nothing is changed", async () => {
    const url = await freshPostgres();
    const client = connectPostgres(url);
    await client.unsafe("create table messages (id int)");
    const before = [...(await tablesOf(client))];
    expect(reasonOf(await refusal(open(url)))).toMatch(REFUSED);
    expect([...(await tablesOf(client))]).toEqual(before);
  });

  it("with other tables has room for Parley beside them", async () => {
    const url = await freshPostgres();
    const client = connectPostgres(url);
    await client`create table users (id int)`;
    closing(await open(url));
    expect((await tablesOf(client)).map((row) => row["tablename"])).toContain("conversations");
  });

  it("that holds no Unicode is refused", async () => {
    const admin = connectPostgres(`${inject("postgresUrl")}postgres`);
    const name = `t_latin1_${process.pid}`;
    await admin.unsafe(`create database ${name} encoding 'LATIN1' locale 'C' template template0`);
    const message = reasonOf(await refusal(open(inject("postgresUrl") + name)));
    await admin.unsafe(`drop database ${name} with (force)`);
    expect(message).toMatch(/^has the encoding LATIN1, .* it has to be UTF8$/);
  });

  it("that is not there yet is made to hold it", async () => {
    const url = `${inject("postgresUrl")}t_made_${process.pid}`;
    closing(await open(url));
    expect([...(await connectPostgres(url)`show server_encoding`)]).toEqual([{ server_encoding: "UTF8" }]);
  });
});
