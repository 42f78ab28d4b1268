import { and, asc, eq, sql } from "drizzle-orm";
import { type Db, statement } from "../db/db.ts";

/** What Stream Chat has not been shown yet. */

/** A conversation that is behind. `rev` is what it is at, `mirrored` what is shown; -1 for nothing. Times in milliseconds. */
export type Behind = {
  id: string;
  rev: number;
  mirrored: number;
  attempts: number | null;
  retryAt: number | null;
  error: string | null;
};

const selectBehind = statement(["limit"], (db, $) => {
  const { conversations: c, mirrorings: m } = db.tables;
  return db
    .select({
      ...{ id: c.id, rev: c.rev, mirrored: c.mirrored },
      ...{ attempts: m.attempts, retryAt: m.retryAt, error: m.error },
    })
    .from(c)
    .leftJoin(m, eq(m.id, c.id))
    .where(sql`${c.rev} > ${c.mirrored}`)
    .orderBy(asc(c.id))
    .limit($.limit);
});

const selectDeletedBehind = statement(["limit"], (db, $) => {
  const { tombstones: t, mirrorings: m } = db.tables;
  return db
    .select({
      ...{ id: t.id, rev: t.rev, mirrored: t.mirrored },
      ...{ attempts: m.attempts, retryAt: m.retryAt, error: m.error },
    })
    .from(t)
    .leftJoin(m, eq(m.id, t.id))
    .where(sql`${t.rev} > ${t.mirrored}`)
    .orderBy(asc(t.id))
    .limit($.limit);
});

const countBehind = statement([], (db) => {
  const { conversations: c, tombstones: t } = db.tables;
  const count = sql<number>`(select count(*) from ${c} where ${c.rev} > ${c.mirrored})
    + (select count(*) from ${t} where ${t.rev} > ${t.mirrored})`;
  return db.select({ count }).from(sql`(select 1) as one`);
});

const selectError = statement(["turnId"], (db, $) => {
  const t = db.tables.turns;
  return db
    .select({ error: t.error })
    .from(t)
    .where(and(eq(t.id, $.turnId), sql`${t.error} is not null`));
});

/** So many conversations that are behind, deleted ones too, and how many there are. */
export async function readBacklog(db: Db, limit: number): Promise<{ count: number; behind: Behind[] }> {
  const [[counted], there, deleted] = await Promise.all([
    db.all(countBehind, {}),
    db.all(selectBehind, { limit }),
    db.all(selectDeletedBehind, { limit }),
  ]);
  return { count: Number(counted?.count ?? 0), behind: [...there, ...deleted].slice(0, limit) };
}

/** Why a turn failed; null where it did not. */
export async function errorOf(db: Db, turnId: string | null): Promise<{ code: string } | null> {
  const [row] = turnId === null ? [] : await db.all(selectError, { turnId });
  return row?.error ?? null;
}
