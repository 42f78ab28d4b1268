import { and, eq, lt, or, sql } from "drizzle-orm";
import { type Db, guard, isConflict, type Source, statement, step } from "../db/db.ts";
import type { Told } from "./news.ts";

/** Who tells the webhook of a conversation: one at a time, among all instances, by the database's clock. */

/** The right to tell of a conversation until `leaseUntil`, which no two claims of one conversation share. */
export type Claim = { readonly id: string; readonly leaseUntil: number; readonly attempts: number };

const isFree = (db: Source) => {
  const d = db.tables.deliveries;
  const isPast = (column: typeof d.leaseUntil | typeof d.retryAt) => or(sql`${column} is null`, lt(column, db.now));
  return and(isPast(d.leaseUntil), isPast(d.retryAt));
};

const selectDue = statement(["limit"], (db, $) => {
  const { conversations: c, deliveries: d } = db.tables;
  return db
    .select({ id: c.id })
    .from(c)
    .leftJoin(d, eq(d.id, c.id))
    .where(and(sql`${c.rev} > ${c.told}`, isFree(db)))
    .orderBy(c.id)
    .limit($.limit);
});

const selectDueDeleted = statement(["limit"], (db, $) => {
  const { tombstones: t, deliveries: d } = db.tables;
  return db
    .select({ id: t.id })
    .from(t)
    .leftJoin(d, eq(d.id, t.id))
    .where(and(sql`${t.rev} > ${t.told}`, isFree(db)))
    .orderBy(t.id)
    .limit($.limit);
});

/** Conversations of which there is something to tell, that nobody tells of right now and whose time has come. */
export async function dueConversations(db: Db, limit: number): Promise<string[]> {
  const lists = await Promise.all([db.all(selectDue, { limit }), db.all(selectDueDeleted, { limit })]);
  return lists.flat().map(({ id }) => id);
}

const takeClaim = statement(["id", "leaseMs"], (db, $) => {
  const d = db.tables.deliveries;
  const leaseUntil = sql`${db.now} + ${$.leaseMs}`;
  const free = isFree(db);
  return db
    .insert(d)
    .values({ id: $.id, leaseUntil })
    .onConflictDoUpdate({ target: d.id, set: { leaseUntil }, ...(free && { setWhere: free }) })
    .returning({ leaseUntil: d.leaseUntil, attempts: d.attempts });
});

/** null where another tells of it, or it is not to be tried yet. */
export async function claimConversation(db: Db, id: string, leaseMs: number): Promise<Claim | null> {
  const rows = await db.batch([guard(takeClaim, { id, leaseMs })]).catch((error) => {
    if (!isConflict(error)) throw error;
  });
  const row = rows?.[0][0];
  return row ? { id, leaseUntil: row.leaseUntil ?? 0, attempts: row.attempts } : null;
}

const moveTold = statement(["id", "after", "rev"], (db, $) => {
  const c = db.tables.conversations;
  return db
    .update(c)
    .set({ told: $.rev })
    .where(and(eq(c.id, $.id), eq(c.told, $.after)))
    .returning({ rev: c.rev });
});

const moveToldOfDeleted = statement(["id", "after", "rev"], (db, $) => {
  const t = db.tables.tombstones;
  return db
    .update(t)
    .set({ told: $.rev })
    .where(and(eq(t.id, $.id), eq(t.told, $.after)))
    .returning({ rev: t.rev });
});

const dropClaim = statement(["id", "leaseUntil"], (db, $) => {
  const d = db.tables.deliveries;
  return db.delete(d).where(and(eq(d.id, $.id), eq(d.leaseUntil, $.leaseUntil)));
});

/** Notes what has been told, and gives the claim back; tells whether there may be more to tell. */
export async function settle(db: Db, claim: Claim, { after, rev, deleted }: Told): Promise<boolean> {
  const moved = { id: claim.id, after, rev };
  const [[row]] = await db.batch([step(deleted ? moveToldOfDeleted : moveTold, moved), step(dropClaim, claim)]);
  return row === undefined || row.rev > rev;
}

/** Gives back a claim of which nothing is to be told. */
export async function giveUp(db: Db, claim: Claim): Promise<void> {
  await db.batch([step(dropClaim, claim)]);
}

const freeClaim = statement(["id", "leaseUntil"], (db, $) => {
  const d = db.tables.deliveries;
  return db
    .update(d)
    .set({ leaseUntil: null })
    .where(and(eq(d.id, $.id), eq(d.leaseUntil, $.leaseUntil)));
});

/** Gives back a claim under which nothing was told, so that any instance may go on with it at once. */
export async function giveBack(db: Db, claim: Claim): Promise<void> {
  await db.batch([step(freeClaim, claim)]);
}

const putOff = statement(["id", "leaseUntil", "delayMs", "error"], (db, $) => {
  const d = db.tables.deliveries;
  return db
    .update(d)
    .set({
      leaseUntil: null,
      attempts: sql`${d.attempts} + 1`,
      retryAt: sql`${db.now} + ${$.delayMs}`,
      error: $.error,
    })
    .where(and(eq(d.id, $.id), eq(d.leaseUntil, $.leaseUntil)));
});

/** Gives back a claim whose delivery failed; it is tried again after `delayMs`, by whichever instance. */
export async function tryLater(db: Db, claim: Claim, failed: { delayMs: number; error: string }): Promise<void> {
  await db.batch([step(putOff, { ...claim, ...failed })]);
}
