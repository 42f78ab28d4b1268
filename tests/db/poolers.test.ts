import { describe, expect, it } from "vitest";
import { isConflict } from "../../src/db/db.ts";
import { openDatabase, parseDatabaseUrl } from "../../src/db/index.ts";
import { freshPostgres } from "../support/databases.ts";
import { closing, refusal, useDatabase } from "../support/db-handles.ts";
import { nextId } from "../support/db-ids.ts";
import { marksOf } from "../support/db-marks.ts";
import { ending, question } from "../support/db-questions.ts";
import { startWire } from "../support/db-wire.ts";
import { haproxy, pgbouncer, startHaproxy, startPgBouncer } from "../support/poolers.ts";

describe.skipIf(!pgbouncer)("Postgres behind a PgBouncer in transaction mode", () => {
  const ways = [
    ["as it comes", "", ""],
    ["with pgbouncer=true", "", "?pgbouncer=true"],
    [
      "that passes over our settings",
      "ignore_startup_parameters = default_transaction_isolation, statement_timeout, idle_in_transaction_session_timeout",
      "",
    ],
  ] as const;

  it.each(ways)(
    "%s serves migrations, turns, batches and statements of many at once",
    async (_, settings, parameters) => {
      const url = (await startPgBouncer(await freshPostgres(), settings)) + parameters;
      const lines: string[] = [];
      const db = closing(await openDatabase(parseDatabaseUrl(url), { told: (line) => lines.push(line) }));
      expect(db.carrier).toBeNull();
      expect(lines).toEqual([expect.stringContaining("a pooler stands before Postgres")]);
      const { put, read, mustRaise } = marksOf();
      const work = async () => {
        const input = question();
        const begun = await db.turnWrites.begin(input, true);
        await db.batch([put(nextId()), put(nextId())]);
        expect(isConflict(await refusal(db.batch([mustRaise(nextId()), put(nextId())])))).toBe(true);
        await db.turnWrites.finish(ending({ input, begun }));
        await read(db);
        await db.ping(10_000);
      };
      for (let round = 0; round < 3; round++) await Promise.all(Array.from({ length: 12 }, work));
      expect(await read(db)).toHaveLength(3 * 12 * 2);
    },
  );

  it("that comes between while the service runs is learned from its refusals", async () => {
    const direct = await freshPostgres();
    const pooled = await startPgBouncer(direct);
    const wire = await startWire(direct);
    const db = closing(await openDatabase(parseDatabaseUrl(wire.url)));
    const { put, read } = marksOf();
    await db.batch([put(nextId()), put(nextId())]);
    wire.lead(pooled);
    wire.lose("closed");
    await expect.poll(() => read(db).catch((error) => error), { timeout: 10_000 }).toHaveLength(2);
    const all = Array.from({ length: 20 }, () => db.batch([put(nextId()), put(nextId())]));
    await Promise.all(all);
    expect(await read(db)).toHaveLength(42);
  });
});

describe.skipIf(!haproxy)("Postgres behind an HAProxy that leads to another server", () => {
  const handles = useDatabase(freshPostgres);

  it("is found there once the first has fallen silent, without a restart", async () => {
    const first = await startWire(handles.url);
    const second = await startWire(handles.url);
    const port = (url: string) => Number(new URL(url).port);
    const proxy = await startHaproxy(handles.url, { first: port(first.url), second: port(second.url) });
    const db = closing(await openDatabase(parseDatabaseUrl(proxy.url), { timeoutMs: 1_000 }));
    const { put, read } = marksOf();
    const pair = () => db.batch([put(nextId()), put(nextId())]);
    await pair();
    await proxy.lead("second");
    first.freeze();
    expect(await refusal(pair())).toMatchObject({ code: "ETIMEDOUT" });
    await pair();
    await db.ping(5_000);
    expect(second.open()).toBeGreaterThan(0);
    expect(await read(handles.db)).toHaveLength(4);
  });
});
