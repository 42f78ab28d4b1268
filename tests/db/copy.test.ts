import { copyFileSync, existsSync, readdirSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { migrations } from "../../drizzle/migrations.ts";
import { openDatabase } from "../../src/db/index.ts";
import { migrateSqlite } from "../../src/db/migrate.ts";
import { openClient } from "../../src/db/sqlite.ts";
import { refusal } from "../support/db-handles.ts";
import { connectPlainly } from "../support/db-sqlite.ts";
import { freshFolder } from "../support/models-launch.ts";
import { runCommand } from "../support/service.ts";

const shipped = migrations.sqlite;
const [last] = shipped.slice(-1);
const tag = last?.tag ?? "";

/** A database that lacks the last migration, in a folder of its own. */
function behind(name = "parley.db"): string {
  const client = openClient(join(freshFolder(), name), "normal");
  migrateSqlite(client, shipped.slice(0, -1));
  client.exec("insert into tombstones (id, user_id, rev, deleted_at) values ('t', 'ann', 1, 1)");
  client.close();
  return client.name;
}

/** Opens and closes it as the service does; gives the files of which it was told that they keep what was. */
async function start(path: string): Promise<string[]> {
  const kept: string[] = [];
  const db = await openDatabase({ dialect: "sqlite", path }, { kept: (file) => kept.push(file) });
  await db.close();
  return kept;
}

const beside = (path: string) => readdirSync(dirname(path)).sort();
const read = (path: string, sql: string) => connectPlainly(path).prepare(sql).pluck().all();
const hashes = "select hash from __drizzle_migrations order by id";

describe("opening a SQLite file whose migrations are pending", () => {
  it("keeps it as it was before the first of them, and says where", async () => {
    const path = behind();
    const file = `${path}.before-${tag}`;
    expect(await start(path)).toEqual([file]);
    expect(read(file, hashes)).toEqual(shipped.slice(0, -1).map(({ sha256 }) => sha256));
    expect(read(file, "select id from tombstones")).toEqual(["t"]);
    expect(read(path, hashes)).toEqual(shipped.map(({ sha256 }) => sha256));
  });

  it("keeps it also where `parley migrate` does it", async () => {
    const path = behind();
    const file = `${path}.before-${tag}`;
    const out = `kept ${file}\napplied ${tag}\n`;
    expect(await runCommand("node", ["migrate"], { env: { DATABASE_URL: path } })).toEqual({ code: 0, out, error: "" });
    expect(read(file, hashes)).toHaveLength(shipped.length - 1);
    expect(beside(path)).toEqual(["parley.db", `parley.db.before-${tag}`, "parley.db.lock"]);
  });

  it("keeps nothing of one that is up to date, new, or in memory", async () => {
    const path = join(freshFolder(), "parley.db");
    expect([await start(path), await start(path), await start(":memory:")]).toEqual([[], [], []]);
    expect(beside(path)).toEqual(["parley.db"]);
    writeFileSync(join(dirname(path), "empty.db"), "");
    expect(await start(join(dirname(path), "empty.db"))).toEqual([]);
  });

  it("leaves a copy that is there, and writes another where the database has changed since", async () => {
    const path = behind();
    const file = `${path}.before-${tag}`;
    await start(path);
    copyFileSync(file, path); // somebody went back,
    utimesSync(file, 1, 1); // a while ago
    const client = openClient(path, "normal");
    client.exec("insert into tombstones (id, user_id, rev, deleted_at) values ('later', 'ann', 1, 1)");
    client.close();
    expect(await start(path)).toEqual([`${file}-2`]);
    expect(read(file, "select id from tombstones")).toEqual(["t"]);
    expect(read(`${file}-2`, "select id from tombstones")).toEqual(["later", "t"]);
  });

  it("writes one copy, however often a migration fails", async () => {
    const path = behind();
    const client = openClient(path, "normal");
    client.pragma("foreign_keys = OFF");
    client.exec("insert into read_markers (conversation_id, reader_id, seq) values ('nowhere', 'ann', 1)");
    client.close();
    for (let i = 0; i < 3; i++) expect(String(await refusal(start(path)))).toContain("rows without their parent");
    expect(beside(path)).toEqual(["parley.db", `parley.db.before-${tag}`]);
  });

  it("is refused, and changes nothing, where no copy can be written", async () => {
    const path = behind(`${"x".repeat(240)}.db`); // no file has so long a name as its copy would need
    const before = statSync(path).size;
    const error = String(await refusal(start(path)));
    expect(error).toMatch(/^Error: migrations are pending, and no copy could be written before them: ENAMETOOLONG/);
    expect([statSync(path).size, beside(path)]).toEqual([before, [basename(path)]]);
    expect(read(path, hashes)).toHaveLength(shipped.length - 1);
  });

  it("makes no copy of one that is newer, and refuses it as ever", async () => {
    const path = behind();
    const client = openClient(path, "normal");
    client.exec("insert into __drizzle_migrations (hash, created_at) values ('of tomorrow', 1)");
    client.close();
    expect(String(await refusal(start(path)))).toContain("newer than this Parley");
    expect(existsSync(`${path}.before-${tag}`)).toBe(false);
  });
});
