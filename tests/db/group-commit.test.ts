import { describe, expect, it } from "vitest";
import { isConflict } from "../../src/db/db.ts";
import { codeOf } from "../../src/db/postgres-errors.ts";
import { nextId } from "../support/db-ids.ts";
import { marksOf } from "../support/db-marks.ts";
import { commitsIn, openSqlite } from "../support/db-sqlite.ts";

const ids = (length: number) => Array.from({ length }, () => nextId());

describe("the group commit of SQLite", () => {
  it.each(["full", "normal"] as const)(
    "stores all batches that wait at the same moment with one commit (%s)",
    async (synchronous) => {
      const opened = openSqlite(synchronous);
      const { put, raise, read } = marksOf();
      const before = commitsIn(opened);
      await Promise.all(ids(50).map((id) => opened.db.batch([put(id), raise(id)])));
      expect(commitsIn(opened) - before).toBe(1);
      expect(await read(opened.db)).toHaveLength(50);
    },
  );

  it("gives batches that come one after another a commit each", async () => {
    const opened = openSqlite();
    const { put } = marksOf();
    const before = commitsIn(opened);
    for (const id of ids(5)) await opened.db.batch([put(id)]);
    expect(commitsIn(opened) - before).toBe(5);
  });

  it("undoes a refused batch alone, and commits the others of its group still once", async () => {
    const opened = openSqlite();
    const { put, mustRaise, read } = marksOf();
    const before = commitsIn(opened);
    const kept = ids(20);
    const refused = ids(20).map((id) => opened.db.batch([put(id), mustRaise(nextId())]));
    const stored = kept.map((id) => opened.db.batch([put(id)]));
    for (const { reason } of rejected(await Promise.allSettled(refused), 20)) expect(reason).toSatisfy(isConflict);
    await Promise.all(stored);
    expect(commitsIn(opened) - before).toBe(1);
    expect((await read(opened.db)).map(({ id }) => id)).toEqual(kept);
  });

  it("runs the batches of a group in the order they came, each upon what those before it wrote", async () => {
    const { db } = openSqlite();
    const { put, mustRaise } = marksOf();
    const id = nextId();
    const rows = await Promise.all([
      db.batch([put(id, 10)]),
      db.batch([mustRaise(id), put(nextId(), null)]).catch(() => "undone"),
      db.batch([mustRaise(id)]),
      db.batch([mustRaise(id)]),
    ]);
    expect(rows).toEqual([[[{ id, rev: 10 }]], "undone", [[{ rev: 11 }]], [[{ rev: 12 }]]]);
  });

  it("resolves each batch only after the commit: another program sees its row at that moment", async () => {
    const { db, outside } = openSqlite("full");
    const { put } = marksOf();
    const look = outside.prepare("select count(*) from tombstones where id = ?").pluck();
    const seen = await Promise.all(ids(50).map((id) => db.batch([put(id)]).then(() => look.get(id))));
    expect(seen).toEqual(seen.map(() => 1));
  });

  // SQLite ends the transaction over a plain insert, and only the statement over one with RETURNING.
  it.each([
    { ended: "the transaction", insert: "putSilently", outcomes: ["full", "full", "full", "full"] },
    { ended: "one statement", insert: "put", outcomes: ["stored", "stored", "full", "stored"] },
  ] as const)(
    "stores nothing that it rejects when a full disk ends $ended, and goes on when there is room",
    async ({ insert, outcomes }) => {
      const { db, client, outside } = openSqlite();
      const [small, wide] = [marksOf(), marksOf("x".repeat(200_000))];
      const count = outside.prepare("select count(*) from tombstones").pluck();
      const pages = Number(client.pragma("page_count", { simple: true }));
      client.pragma(`max_page_count = ${pages + 60}`); // room for one wide row
      const group = [small.put, wide[insert], wide[insert], small.put].map((put) => db.batch([put(nextId())]));
      expect((await Promise.allSettled(group)).map(nameOf)).toEqual(outcomes);
      const stored = outcomes.filter((outcome) => outcome === "stored").length;
      expect(count.get()).toBe(stored);
      expect(client.inTransaction).toBe(false);

      await db.batch([small.put(nextId())]);
      client.pragma("max_page_count = 1000000");
      await Promise.all([db.batch([wide[insert](nextId())]), db.batch([small.put(nextId())])]);
      expect(count.get()).toBe(stored + 3);
    },
  );

  it("rejects the whole group when the commit itself fails, stores nothing of it, and goes on", async () => {
    const { db, client, outside } = openSqlite();
    client.exec(`
      create table notes (parent text references tombstones (id) deferrable initially deferred);
      create trigger note after insert on tombstones when new.user_id = 'orphans' begin insert into notes values ('nobody'); end;
    `);
    const [fine, orphaning] = [marksOf(), marksOf("orphans")];
    const group = [fine, orphaning, fine].map(({ put }) => db.batch([put(nextId())]));
    expect((await Promise.allSettled(group)).map(nameOf)).toEqual(Array(3).fill("SQLITE_CONSTRAINT_FOREIGNKEY"));
    expect(client.inTransaction).toBe(false);
    await db.batch([fine.put(nextId())]);
    expect(outside.prepare("select count(*) from tombstones").pluck().get()).toBe(1);
  });

  it("takes batches that come while others settle", async () => {
    const { db } = openSqlite();
    const { put, mustRaise, read } = marksOf();
    const chain = async (id: string) => {
      await db.batch([put(id)]);
      for (let i = 0; i < 20; i++) await db.batch([mustRaise(id)]);
    };
    const all = ids(20);
    await Promise.all(all.map(chain));
    expect(await read(db)).toEqual(all.map((id) => ({ id, rev: 20 })));
  });
});

/** The refusals among outcomes, which must be so many. */
function rejected(outcomes: readonly PromiseSettledResult<unknown>[], times: number): PromiseRejectedResult[] {
  const found = outcomes.filter((outcome) => outcome.status === "rejected");
  expect(found).toHaveLength(times);
  return found;
}

function nameOf(outcome: PromiseSettledResult<unknown>): string | undefined {
  if (outcome.status === "fulfilled") return "stored";
  return codeOf(outcome.reason) === "SQLITE_FULL" ? "full" : codeOf(outcome.reason);
}
