import { describe, expect, it } from "vitest";
import { isConflict } from "../../src/db/db.ts";
import { codeOf } from "../../src/db/postgres-errors.ts";
import { databases } from "../support/databases.ts";
import { refusal, useDatabase } from "../support/db-handles.ts";
import { nextId } from "../support/db-ids.ts";
import { marksOf } from "../support/db-marks.ts";

const ids = (length: number) => Array.from({ length }, () => nextId());

const notNull = ["SQLITE_CONSTRAINT_NOTNULL", "23502"];

function nameOf(outcome: PromiseSettledResult<unknown>): string | undefined {
  if (outcome.status === "fulfilled") return "stored";
  if (isConflict(outcome.reason)) return "conflict";
  const code = codeOf(outcome.reason);
  return code && notNull.includes(code) ? "not null" : code;
}

describe.each(databases)("batches at once on $database", ({ fresh }) => {
  const handles = useDatabase(fresh);

  it("are stored all but one, when one in their middle is refused", async () => {
    const { put, mustRaise, read } = marksOf();
    const kept = ids(20);
    const outcomes = await Promise.allSettled(
      kept.flatMap((id, i) => [
        handles.db.batch([put(id)]),
        ...(i === 10 ? [handles.db.batch([put(nextId()), mustRaise(nextId())])] : []),
      ]),
    );
    expect(outcomes.flatMap(({ status }, i) => (status === "rejected" ? [i] : []))).toEqual([11]);
    expect((await read(handles.other)).map(({ id }) => id)).toEqual(kept);
  });

  it("are 200, of which exactly those are stored that were not refused, each for its own reason", async () => {
    const { put, raise, mustRaise, read } = marksOf();
    const taken = nextId();
    await handles.db.batch([put(taken)]);
    const all = ids(200).map((one, i) => {
      const two = nextId();
      const lasts = [put(two), mustRaise(nextId()), put(taken), put(two, null)] as const;
      const run = handles.db.batch([put(one), raise(one), lasts[i % 4] ?? lasts[0]]);
      return { one, two, run };
    });
    const outcomes = await Promise.allSettled(all.map(({ run }) => run));
    expect(outcomes.map(nameOf)).toEqual(all.map((_, i) => ["stored", "conflict", "conflict", "not null"][i % 4]));
    const stored = all.filter((_, i) => i % 4 === 0).flatMap(({ one, two }) => [one, two]);
    expect((await read(handles.other)).map(({ id }) => id)).toEqual([taken, ...stored].sort());
  });

  it("give each its own rows", async () => {
    const { put, raise } = marksOf();
    const all = await Promise.all(
      ids(200).map(async (id, rev) => ({ id, rev, rows: await handles.db.batch([put(id, rev), raise(id)]) })),
    );
    for (const { id, rev, rows } of all) expect(rows).toEqual([[{ id, rev }], [{ rev: rev + 1 }]]);
  });

  it("lose no update of the same row, from two handles", async () => {
    const { put, raise, read } = marksOf();
    const id = nextId();
    await handles.db.batch([put(id)]);
    const { db, other } = handles;
    const rows = await Promise.all(Array.from({ length: 200 }, (_, i) => (i % 2 ? db : other).batch([raise(id)])));
    expect(
      rows
        .flat(2)
        .map(({ rev }) => rev)
        .sort((a, b) => a - b),
    ).toEqual(Array.from({ length: 200 }, (_, i) => i + 1));
    expect(await read(db)).toEqual([{ id, rev: 200 }]);
  });

  it("let one through, when all want the same key", async () => {
    const { put, read } = marksOf();
    const id = nextId();
    const tries = Array.from({ length: 40 }, (_, i) =>
      (i % 2 ? handles.db : handles.other).batch([put(id, i), put(nextId())]),
    );
    const outcomes = await Promise.allSettled(tries);
    const winners = outcomes.flatMap(({ status }, i) => (status === "fulfilled" ? [i] : []));
    expect(winners).toHaveLength(1);
    for (const outcome of outcomes) if (outcome.status === "rejected") expect(outcome.reason).toSatisfy(isConflict);
    const rows = await read(handles.other);
    expect(rows).toHaveLength(2);
    expect(rows).toContainEqual({ id, rev: winners[0] });
  });

  it("are seen by every reader once they have resolved", async () => {
    const { put, read } = marksOf();
    const seen = await Promise.all(
      ids(50).map(async (id) => {
        await handles.db.batch([put(id)]);
        const [here, there] = await Promise.all([read(handles.db), read(handles.other)]);
        return [here, there].every((rows) => rows.some((row) => row.id === id));
      }),
    );
    expect(seen).toEqual(seen.map(() => true));
    expect(await refusal(handles.db.batch([marksOf().mustRaise(nextId())]))).toSatisfy(isConflict);
  });
});
