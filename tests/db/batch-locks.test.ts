import { describe, expect, it } from "vitest";
import { isConflict } from "../../src/db/db.ts";
import { openDatabase, parseDatabaseUrl } from "../../src/db/index.ts";
import { freshPostgres } from "../support/databases.ts";
import { closing, refusal, useDatabase } from "../support/db-handles.ts";
import { nextId } from "../support/db-ids.ts";
import { marksOf } from "../support/db-marks.ts";
import { blocked, connectPostgres } from "../support/db-postgres.ts";

describe("a batch on Postgres that waits for somebody's lock", () => {
  const handles = useDatabase(freshPostgres);

  /** Starts something that needs a row which somebody holds, and lets go of that once `meanwhile` is done. */
  async function held<R>(id: string, start: () => Promise<R>, meanwhile: () => Promise<unknown>): Promise<R> {
    const outside = connectPostgres(handles.url);
    const { waiting } = await outside.begin(async (tx) => {
      await tx`select 1 from tombstones where id = ${id} for update`;
      const waiting = start();
      await blocked(outside);
      await meanwhile();
      return { waiting };
    });
    return waiting;
  }

  it("shows nobody what it has written so far, not even its own handle", async () => {
    const { put, raise, mustRaise, read } = marksOf();
    const id = nextId();
    await handles.db.batch([put(id)]);
    const error = await held(
      id,
      () => refusal(handles.db.batch([put(nextId()), raise(id), mustRaise(nextId())])),
      async () => {
        expect(await read(handles.db)).toEqual([{ id, rev: 0 }]);
        expect(await read(handles.other)).toEqual([{ id, rev: 0 }]);
      },
    );
    expect(isConflict(error)).toBe(true);
    expect(await read(handles.db)).toEqual([{ id, rev: 0 }]);
  });

  it("holds up no other batch and no verb of its handle, and undoes none of them", async () => {
    const { userId, put, raise, mustRaise, read } = marksOf();
    const [id, beside, direct] = [nextId(), nextId(), nextId()];
    await handles.db.batch([put(id)]);
    await held(
      id,
      () => refusal(handles.db.batch([raise(id), mustRaise(nextId())])),
      async () => {
        await handles.db.batch([put(beside)]);
        await handles.db.insert(handles.db.tables.tombstones).values({ id: direct, userId, rev: 0, deletedAt: 0 });
      },
    );
    expect((await read(handles.db)).map((row) => row.id)).toEqual([id, beside, direct]);
  });

  it("goes on upon what was committed meanwhile", async () => {
    const { put, raise } = marksOf();
    const id = nextId();
    await handles.db.batch([put(id)]);
    const outside = connectPostgres(handles.url);
    const { waiting } = await outside.begin(async (tx) => {
      await tx`update tombstones set rev = 41 where id = ${id}`;
      const waiting = handles.db.batch([raise(id)]);
      await blocked(outside);
      return { waiting };
    });
    expect(await waiting).toEqual([[{ rev: 42 }]]);
  });

  it("makes a ping fail in its time where it holds the only connection, and no longer", async () => {
    const narrow = await openDatabase(parseDatabaseUrl(handles.url), { poolMax: 3 });
    const { put, raise } = marksOf();
    const id = nextId();
    await handles.db.batch([put(id)]);
    const rows = await held(
      id,
      () => narrow.batch([raise(id)]),
      async () => expect(await refusal(narrow.ping(50))).toEqual(new Error("no answer within 50 ms")),
    );
    expect(rows).toEqual([[{ rev: 1 }]]);
    expect(await narrow.ping(5_000)).toBeUndefined();
    await narrow.close();
  });
});

describe("a guard on Postgres that has no row", () => {
  const handles = useDatabase(freshPostgres);

  it("lets nothing be carried out behind it, which would wait for others' locks", async () => {
    const { put, raise, mustRaise, read } = marksOf();
    const [held, id] = [nextId(), nextId()];
    await handles.db.batch([put(held), put(id)]);
    const steps = () => handles.db.batch([raise(id), mustRaise(nextId()), raise(held)]);
    const outside = connectPostgres(handles.url);
    await outside.begin(async (tx) => {
      await tx`select 1 from tombstones where id = ${held} for update`;
      expect(isConflict(await refusal(steps()))).toBe(true); // also once the statements are prepared
      expect(isConflict(await refusal(steps()))).toBe(true);
    });
    expect((await read(handles.db)).map(({ rev }) => rev)).toEqual([0, 0]);
  });
});

describe("batches that race for the same rows on Postgres", () => {
  /** A database where others have set what is not ours to know. */
  async function openSetTo(setting: string) {
    const url = await freshPostgres();
    await connectPostgres(url).unsafe(`alter database ${new URL(url).pathname.slice(1)} set ${setting}`);
    return closing(await openDatabase(parseDatabaseUrl(url)));
  }

  it("all pass where the database's own isolation level is repeatable read", async () => {
    const db = await openSetTo("default_transaction_isolation = 'repeatable read'");
    const { put, raise, read } = marksOf();
    const id = nextId();
    await db.batch([put(id)]);
    const forms = [() => db.batch([raise(id)]), () => db.batch([raise(id), put(nextId())])];
    await Promise.all(Array.from({ length: 40 }, (_, i) => forms[i % 2]?.()));
    expect((await read(db))[0]).toEqual({ id, rev: 40 });
  });

  it("are tried again where they have locked each other out", async () => {
    const db = await openSetTo("deadlock_timeout = '20ms'");
    const { put, raise, read } = marksOf();
    const [one, two] = [nextId(), nextId()];
    await db.batch([put(one), put(two)]);
    const there = () => db.batch([raise(one), raise(two)]);
    const back = () => db.batch([raise(two), raise(one)]);
    for (let round = 0; round < 5; round++) await Promise.all([there(), back(), there(), back()]);
    expect((await read(db)).map(({ rev }) => rev)).toEqual([20, 20]);
  });
});
