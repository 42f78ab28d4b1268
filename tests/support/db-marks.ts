import { asc, eq, sql } from "drizzle-orm";
import { type Db, guard, statement, step } from "../../src/db/db.ts";
import { nextId } from "./db-ids.ts";

// Tombstones have neither parents nor defaults: the plainest rows there are.

export const insertMark = statement(["id", "userId", "rev"], (db, $) =>
  db
    .insert(db.tables.tombstones)
    .values({ id: $.id, userId: $.userId, rev: $.rev, deletedAt: 0 })
    .returning({ id: db.tables.tombstones.id, rev: db.tables.tombstones.rev }),
);

const insertSilently = statement(["id", "userId"], (db, $) =>
  db.insert(db.tables.tombstones).values({ id: $.id, userId: $.userId, rev: 0, deletedAt: 0 }),
);

export const raiseMark = statement(["id"], (db, $) => {
  const t = db.tables.tombstones;
  return db
    .update(t)
    .set({ rev: sql`${t.rev} + 1` })
    .where(eq(t.id, $.id))
    .returning({ rev: t.rev });
});

// Of a mark that is not there it would take a user that is NULL.
const copyMark = statement(["id", "from"], (db, $) => {
  const t = db.tables.tombstones;
  const userId = sql`(select ${t.userId} from ${t} where ${t.id} = ${$.from})`;
  return db.insert(t).values({ id: $.id, userId, rev: 0, deletedAt: 0 }).returning({ userId: t.userId });
});

export const selectMarks = statement(["userId"], (db, $) => {
  const t = db.tables.tombstones;
  return db.select({ id: t.id, rev: t.rev }).from(t).where(eq(t.userId, $.userId)).orderBy(asc(t.id));
});

/** Steps over the marks of one user, whom no other test has. */
export function marksOf(userId: string = nextId()) {
  return {
    userId,
    put: (id: string, rev: number | null = 0) => step(insertMark, { id, userId, rev }),
    putSilently: (id: string) => step(insertSilently, { id, userId }),
    raise: (id: string) => step(raiseMark, { id }),
    mustRaise: (id: string) => guard(raiseMark, { id }),
    copy: (id: string, from: string) => step(copyMark, { id, from }),
    /** What is committed of them, by id. */
    read: (db: Db) => db.all(selectMarks, { userId }),
  };
}
