import { setImmediate } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { isConflict, statement, step } from "../../src/db/db.ts";
import { codeOf } from "../../src/db/postgres-errors.ts";
import { databases } from "../support/databases.ts";
import { refusal, useDatabase } from "../support/db-handles.ts";
import { nextId } from "../support/db-ids.ts";
import { marksOf } from "../support/db-marks.ts";

const insertOrphan = statement(["id"], (db, $) =>
  db.insert(db.tables.messages).values({
    id: $.id,
    conversationId: $.id,
    seq: 1,
    rev: 1,
    role: "user",
    content: "",
    status: "completed",
    createdAt: 0,
  }),
);

describe.each(databases)("a batch on $database", ({ fresh }) => {
  const handles = useDatabase(fresh);

  it("stores all its steps in order and gives the rows of each", async () => {
    const { put, raise, read } = marksOf();
    const [one, two] = [nextId(), nextId()];
    const rows = await handles.db.batch([put(one, 5), raise(one), put(two), raise(one)]);
    expect(rows).toEqual([[{ id: one, rev: 5 }], [{ rev: 6 }], [{ id: two, rev: 0 }], [{ rev: 7 }]]);
    expect(await read(handles.other)).toEqual([
      { id: one, rev: 7 },
      { id: two, rev: 0 },
    ]);
  });

  it("gives no rows for a step that matches none, or that asks for none", async () => {
    const { putSilently, raise, read } = marksOf();
    const id = nextId();
    const rows = await handles.db.batch([putSilently(id), raise(nextId())]);
    expect(rows).toHaveLength(2);
    expect(rows.map((of) => [...of])).toEqual([[], []]);
    expect(await read(handles.other)).toEqual([{ id, rev: 0 }]);
  });

  it("may read what its own earlier steps wrote", async () => {
    const { userId, put, copy } = marksOf();
    const id = nextId();
    const [, copied] = await handles.db.batch([put(id), copy(nextId(), id)]);
    expect(copied).toEqual([{ userId }]);
  });

  it("passes a guard that yields a row", async () => {
    const { put, mustRaise, read } = marksOf();
    const id = nextId();
    await handles.db.batch([put(id), mustRaise(id)]);
    expect(await read(handles.other)).toEqual([{ id, rev: 1 }]);
  });

  it.each(["first", "last"] as const)(
    "throws Conflict and stores nothing when its %s step is a guard without a row",
    async (place) => {
      const { put, raise, mustRaise, read } = marksOf();
      const id = nextId();
      await handles.db.batch([put(id)]);
      const steps = [put(nextId()), raise(id), put(nextId())];
      const missing = mustRaise(nextId());
      const error = await refusal(handles.db.batch(place === "first" ? [missing, ...steps] : [...steps, missing]));
      expect(isConflict(error)).toBe(true);
      expect(await read(handles.other)).toEqual([{ id, rev: 0 }]);
    },
  );

  it("throws Conflict for a guard without a row also where a later step cannot do without that row", async () => {
    const { mustRaise, copy, read } = marksOf();
    const missing = nextId();
    const error = await refusal(handles.db.batch([mustRaise(missing), copy(nextId(), missing)]));
    expect(error).toSatisfy(isConflict);
    expect(await read(handles.other)).toEqual([]);
  });

  it("throws Conflict and stores nothing when a key is taken", async () => {
    const { put, raise, read } = marksOf();
    const [taken, other] = [nextId(), nextId()];
    await handles.db.batch([put(taken)]);
    const error = await refusal(handles.db.batch([put(other), raise(taken), put(taken)]));
    expect(isConflict(error)).toBe(true);
    expect(await read(handles.other)).toEqual([{ id: taken, rev: 0 }]);
  });

  it.each([
    { missing: "a value that must not be NULL", codes: ["SQLITE_CONSTRAINT_NOTNULL", "23502"] },
    { missing: "a parent", codes: ["SQLITE_CONSTRAINT_FOREIGNKEY", "23503"] },
  ])("throws the error itself and stores nothing when a row lacks $missing", async ({ missing, codes }) => {
    const { put, read } = marksOf();
    const bad = missing === "a parent" ? step(insertOrphan, { id: nextId() }) : put(nextId(), null);
    const error = await refusal(handles.db.batch([put(nextId()), bad, put(nextId())]));
    expect(isConflict(error)).toBe(false);
    expect(codes).toContain(codeOf(error));
    expect(await read(handles.other)).toEqual([]);
  });

  it("can be run again after it was refused", async () => {
    const { put, mustRaise, read } = marksOf();
    const [late, id] = [nextId(), nextId()];
    const steps = [put(id), mustRaise(late)] as const;
    await refusal(handles.db.batch(steps));
    await handles.db.batch([put(late)]);
    await handles.db.batch(steps);
    expect(await read(handles.other)).toEqual([
      { id: late, rev: 1 },
      { id, rev: 0 },
    ]);
  });

  it("shows nothing to anybody until it is refused", async () => {
    const { put, mustRaise, read } = marksOf();
    const steps = [...Array.from({ length: 50 }, () => put(nextId())), mustRaise(nextId())];
    let settled = false;
    const refused = refusal(handles.db.batch(steps)).finally(() => {
      settled = true;
    });
    const seen = [];
    while (!settled) {
      seen.push(await read(handles.other), await read(handles.db));
      await setImmediate();
    }
    expect(isConflict(await refused)).toBe(true);
    expect(seen.length).toBeGreaterThan(0);
    expect(seen.flat()).toEqual([]);
  });
});
