import { describe, expect, inject, it } from "vitest";
import { openDatabase, parseDatabaseUrl } from "../../src/db/index.ts";
import { freshPostgres } from "../support/databases.ts";
import { closing } from "../support/db-handles.ts";
import { nextId } from "../support/db-ids.ts";
import { marksOf } from "../support/db-marks.ts";
import { connectPostgres } from "../support/db-postgres.ts";

/** A database of a role that may have so many connections. */
async function ofSmallPlan(limit: number): Promise<string> {
  const admin = connectPostgres(`${inject("postgresUrl")}postgres`);
  const name = `small_${nextId().replaceAll("-", "")}`;
  await admin.unsafe(`create role ${name} login password 'small' connection limit ${limit}`);
  const url = new URL(await freshPostgres());
  await admin.unsafe(`alter database ${url.pathname.slice(1)} owner to ${name}`);
  return Object.assign(url, { username: name, password: "small" }).href;
}

describe("a Postgres role with few connections", () => {
  it.each([2, 3, 8])("of which it may have %i serves forty batches and statements at once", async (limit) => {
    const url = await ofSmallPlan(limit);
    const lines: string[] = [];
    const db = closing(await openDatabase(parseDatabaseUrl(url), { told: (line) => lines.push(line) }));
    const stop = await db.carrier?.subscribe(() => {});
    const { put, read } = marksOf();
    const one = async () => {
      await db.batch([put(nextId()), put(nextId())]);
      await read(db);
    };
    await Promise.all(Array.from({ length: 40 }, one));
    expect(await read(db)).toHaveLength(80);
    expect(lines).toEqual([expect.stringContaining(`${limit} connections`)]);
    await stop?.();
  });

  it("serves two instances that want more together than there are", async () => {
    const url = await ofSmallPlan(4);
    const both = [
      closing(await openDatabase(parseDatabaseUrl(url))),
      closing(await openDatabase(parseDatabaseUrl(url))),
    ];
    const { put, read } = marksOf();
    for (const db of both)
      await Promise.all(Array.from({ length: 10 }, () => db.batch([put(nextId()), put(nextId())])));
    expect(await Promise.all(both.map(read))).toEqual([expect.any(Array), expect.any(Array)]);
  });

  it("with DATABASE_POOL_MAX of 3 has no more connections than that", async () => {
    const url = await freshPostgres();
    const db = closing(await openDatabase(parseDatabaseUrl(url), { poolMax: 3 }));
    const stop = await db.carrier?.subscribe(() => {});
    const { put, read } = marksOf();
    const work = Array.from({ length: 30 }, () => [db.batch([put(nextId()), put(nextId())]), read(db)]).flat();
    await Promise.all(work);
    const [row] = await connectPostgres(url)`
      select count(*)::int as n from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`;
    expect(row?.["n"]).toBe(3);
    await stop?.();
  });
});
