import { describe, expect, it } from "vitest";
import { openDatabase, parseDatabaseUrl } from "../../src/db/index.ts";
import { freshPostgres } from "../support/databases.ts";
import { closing, refusal } from "../support/db-handles.ts";
import { nextId } from "../support/db-ids.ts";
import { marksOf } from "../support/db-marks.ts";
import { connectPostgres } from "../support/db-postgres.ts";

const causeOf = (error: unknown): unknown => (error instanceof Error && error.cause) || error;

describe("a Postgres server that turns read-only, as after a failover", () => {
  it("fails a ping and writes, and is written again once it can be, over new connections", async () => {
    const url = await freshPostgres();
    const db = closing(await openDatabase(parseDatabaseUrl(url)));
    const { put, read } = marksOf();
    const forms = [() => db.batch([put(nextId())]), () => db.batch([put(nextId()), put(nextId())])];
    const admin = connectPostgres(url);
    const name = new URL(url).pathname.slice(1);
    /** For connections from now on; those that are open stay as they are. */
    const set = (to: "on" | "off") => admin.unsafe(`alter database ${name} set default_transaction_read_only = ${to}`);
    for (const form of forms) await form();

    await set("on");
    await admin`select pg_terminate_backend(pid) from pg_stat_activity where datname = ${name} and pid <> pg_backend_pid()`;
    await expect
      .poll(() => db.ping(5_000).catch((error) => error), { timeout: 10_000 })
      .toMatchObject({ code: "25006" });
    for (const form of forms) expect(causeOf(await refusal(form()))).toMatchObject({ code: "25006" });
    expect(await read(db)).toHaveLength(3);

    await set("off");
    await expect.poll(() => db.ping(5_000).catch((error) => error), { timeout: 10_000 }).toBeUndefined();
    for (const form of forms) await form();
    expect(await read(db)).toHaveLength(6);
  });
});

describe("an address of several Postgres servers", () => {
  it("leads to the one that is there", async () => {
    const { port, pathname } = new URL(await freshPostgres());
    const url = `postgres://postgres:postgres@127.0.0.1:1,127.0.0.1:${port}${pathname}`;
    const db = closing(await openDatabase(parseDatabaseUrl(url)));
    const { put, read } = marksOf();
    await Promise.all(Array.from({ length: 20 }, () => db.batch([put(nextId()), put(nextId())])));
    expect(await read(db)).toHaveLength(40);
  });
});
