import { describe, expect, it } from "vitest";
import type { Db } from "../../src/db/db.ts";
import { openDatabase, parseDatabaseUrl } from "../../src/db/index.ts";
import { freshPostgres } from "../support/databases.ts";
import { closing, refusal, useDatabase } from "../support/db-handles.ts";
import { nextId } from "../support/db-ids.ts";
import { marksOf } from "../support/db-marks.ts";
import { connectPostgres } from "../support/db-postgres.ts";
import { question } from "../support/db-questions.ts";
import { startWire } from "../support/db-wire.ts";

const TIMEOUT_MS = 1_000;
const LATE = { code: "ETIMEDOUT" };

const openBehind = async (url: string, options: { timeoutMs?: number; poolMax?: number } = {}): Promise<Db> =>
  closing(await openDatabase(parseDatabaseUrl(url), { timeoutMs: TIMEOUT_MS, ...options }));

/** The error of the driver, which Drizzle may have wrapped. */
const causeOf = (error: unknown): unknown => (error instanceof Error && error.cause) || error;

describe("Postgres behind a proxy whose open connections fall silent", () => {
  const handles = useDatabase(freshPostgres);

  const forms: [string, (db: Db) => PromiseLike<unknown>][] = [
    ["a batch", (db) => db.batch([marksOf().put(nextId()), marksOf().put(nextId())])],
    ["a statement", (db) => marksOf().read(db)],
    ["a verb", (db) => db.select().from(db.tables.tombstones).limit(1)],
    ["the begin of a turn", (db) => db.turnWrites.begin(question(), true)],
    ["a note to other instances", (db) => db.carrier?.publish("a note") ?? Promise.reject(new Error("no carrier"))],
  ];

  it.each(forms)("refuses %s in its time, and the next one is well", async (_, use) => {
    const wire = await startWire(handles.url);
    const db = await openBehind(wire.url);
    await use(db);
    wire.freeze();
    expect(causeOf(await refusal(use(db)))).toMatchObject(LATE);
    await use(db);
  });

  it("sends what waited for a connection over a new one, and each of these once", async () => {
    const wire = await startWire(handles.url);
    const db = await openBehind(wire.url, { poolMax: 3 });
    const { put, read } = marksOf();
    const pair = () => db.batch([put(nextId()), put(nextId())]);
    await pair();
    wire.freeze();
    const first = refusal(pair());
    const waiting = new Promise((resolve) => setTimeout(resolve, TIMEOUT_MS / 2)).then(() =>
      Promise.all(Array.from({ length: 5 }, pair)),
    );
    expect(await first).toMatchObject(LATE);
    await waiting;
    expect(await read(handles.db)).toHaveLength(2 + 5 * 2);
  });

  it("hears notes again", async () => {
    const wire = await startWire(handles.url);
    const db = await openBehind(wire.url);
    const heard: string[] = [];
    const stop = await db.carrier?.subscribe((text) => heard.push(text));
    wire.freeze();
    await expect
      .poll(
        async () => {
          await handles.other.carrier?.publish("are you there?");
          return heard;
        },
        { timeout: 15_000 },
      )
      .toContain("are you there?");
    await stop?.();
  });

  it("keeps nothing of a transaction whose caller was told that it is late", async () => {
    const db = await openBehind(handles.url);
    const { put, raise, read } = marksOf();
    const [id, beside] = [nextId(), nextId()];
    await handles.db.batch([put(id)]);
    const outside = connectPostgres(handles.url);
    await outside.begin(async (tx) => {
      await tx`select 1 from tombstones where id = ${id} for update`;
      const error = await refusal(db.batch([put(beside), raise(id)]));
      expect(causeOf(error)).toMatchObject({ code: expect.stringMatching(/^(57014|ETIMEDOUT)$/) });
    });
    expect(await read(handles.other)).toEqual([{ id, rev: 0 }]);
    expect(await db.batch([raise(id)])).toEqual([[{ rev: 1 }]]);
  });
});

describe("a slow statement on Postgres", () => {
  const handles = useDatabase(freshPostgres);

  it("is ended by the server in its time, and costs no connection", async () => {
    const wire = await startWire(handles.url);
    const db = await openBehind(wire.url, { poolMax: 3 });
    const { put, raise } = marksOf();
    const id = nextId();
    await db.batch([put(id)]);
    const before = wire.open();
    const outside = connectPostgres(handles.url);
    await outside.begin(async (tx) => {
      await tx`select 1 from tombstones where id = ${id} for update`;
      expect(causeOf(await refusal(db.batch([raise(id)])))).toMatchObject({ code: "57014" });
    });
    expect(wire.open()).toBe(before);
  });
});
