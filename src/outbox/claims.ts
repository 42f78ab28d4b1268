import { and, eq, lt, or, sql } from "drizzle-orm";
import { type Db, guard, isConflict, type Source, statement, step } from "../db/db.ts";
import type { Ledger, Untold } from "./ledger.ts";

/** Who tells of a conversation: one at a time, among all instances, by the database's clock. */

/** The right to tell of a conversation until `leaseUntil`, which no two claims of one conversation share. */
export type Claim = { readonly id: string; readonly leaseUntil: number; readonly attempts: number };

/** Up to which revision of what was untold it is known now. */
export type Progress = { readonly untold: Untold; readonly rev: number };

export type Claims = ReturnType<typeof createClaims>;

/** The claims of one ledger. */
export function createClaims(ledger: Ledger) {
  const due = [selectDue(ledger, "conversations"), selectDue(ledger, "tombstones")] as const;
  const [sessions, tombstones] = [selectUntold(ledger), selectUntoldDeleted(ledger)];
  const [move, moveDeleted] = [moveCursor(ledger, "conversations"), moveCursor(ledger, "tombstones")];
  const [take, drop, free, later] = [takeClaim(ledger), dropClaim(ledger), freeClaim(ledger), putOff(ledger)];
  const extend = extendClaim(ledger);
  const moved = ({ id }: Claim, { untold, rev }: Progress) =>
    step(untold.session ? move : moveDeleted, { id, after: untold.after, rev });

  return {
    /** Conversations of which there is something to tell, that nobody tells of right now and whose time has come. */
    async due(db: Db, limit: number): Promise<string[]> {
      const lists = await Promise.all(due.map((statement) => db.all(statement, { limit })));
      return lists.flat().map(({ id }) => id);
    },
    /** What there is to tell of a conversation; null where all is told. */
    async untold(db: Db, id: string): Promise<Untold | null> {
      const [session] = await db.all(sessions, { id });
      if (session) return { session, tombstone: null, after: session[ledger.cursor] };
      const [tombstone] = await db.all(tombstones, { id });
      return tombstone ? { session: null, tombstone, after: tombstone[ledger.cursor] } : null;
    },
    /** null where another tells of it, or it is not to be tried yet. */
    async take(db: Db, id: string, leaseMs: number): Promise<Claim | null> {
      const rows = await db.batch([guard(take, { id, leaseMs })]).catch((error) => {
        if (!isConflict(error)) throw error;
      });
      const row = rows?.[0][0];
      return row ? { id, leaseUntil: row.leaseUntil ?? 0, attempts: row.attempts } : null;
    },
    /** Holds a claim for longer; null where it was lost. */
    async renew(db: Db, claim: Claim, leaseMs: number): Promise<Claim | null> {
      const [[row]] = await db.batch([step(extend, { ...claim, leaseMs })]);
      return row ? { ...claim, leaseUntil: row.leaseUntil ?? 0 } : null;
    },
    /** Notes what has been told, and gives the claim back; tells whether there may be more to tell. */
    async settle(db: Db, claim: Claim, progress: Progress): Promise<boolean> {
      const [[row]] = await db.batch([moved(claim, progress), step(drop, claim)]);
      return row === undefined || row.rev > progress.rev;
    },
    /** Gives back a claim of which nothing is to be told. */
    async giveUp(db: Db, claim: Claim): Promise<void> {
      await db.batch([step(drop, claim)]);
    },
    /** Gives back a claim under which not all was told, so that any instance may go on with it at once. */
    async giveBack(db: Db, claim: Claim, progress: Progress): Promise<void> {
      await db.batch([moved(claim, progress), step(free, claim)]);
    },
    /** Gives back a claim whose delivery failed; it is tried again after `delayMs`, by whichever instance. */
    async tryLater(db: Db, claim: Claim, failed: Progress & { delayMs: number; error: string }): Promise<void> {
      const { delayMs, error } = failed;
      await db.batch([moved(claim, failed), step(later, { ...claim, delayMs, error })]);
    },
  };
}

type Of = "conversations" | "tombstones";

const isUntold = (db: Source, { cursor }: Ledger, of: Of) => {
  const t = db.tables[of];
  return sql`${t.rev} > ${t[cursor]}`;
};

const isFree = (db: Source, { claims }: Ledger) => {
  const d = db.tables[claims];
  const isPast = (column: typeof d.leaseUntil | typeof d.retryAt) => or(sql`${column} is null`, lt(column, db.now));
  return and(isPast(d.leaseUntil), isPast(d.retryAt));
};

const selectDue = (ledger: Ledger, of: Of) =>
  statement(["limit"], (db, $) => {
    const t = db.tables[of];
    const d = db.tables[ledger.claims];
    return db
      .select({ id: t.id })
      .from(t)
      .leftJoin(d, eq(d.id, t.id))
      .where(and(isUntold(db, ledger, of), isFree(db, ledger)))
      .orderBy(t.id)
      .limit($.limit);
  });

const selectUntold = (ledger: Ledger) =>
  statement(["id"], (db, $) => {
    const c = db.tables.conversations;
    return db
      .select()
      .from(c)
      .where(and(eq(c.id, $.id), isUntold(db, ledger, "conversations")));
  });

const selectUntoldDeleted = (ledger: Ledger) =>
  statement(["id"], (db, $) => {
    const t = db.tables.tombstones;
    return db
      .select()
      .from(t)
      .where(and(eq(t.id, $.id), isUntold(db, ledger, "tombstones")));
  });

const takeClaim = ({ claims, ...ledger }: Ledger) =>
  statement(["id", "leaseMs"], (db, $) => {
    const d = db.tables[claims];
    const leaseUntil = sql`${db.now} + ${$.leaseMs}`;
    const free = isFree(db, { claims, ...ledger });
    return db
      .insert(d)
      .values({ id: $.id, leaseUntil })
      .onConflictDoUpdate({ target: d.id, set: { leaseUntil }, ...(free && { setWhere: free }) })
      .returning({ leaseUntil: d.leaseUntil, attempts: d.attempts });
  });

const extendClaim = ({ claims }: Ledger) =>
  statement(["id", "leaseUntil", "leaseMs"], (db, $) => {
    const d = db.tables[claims];
    return db
      .update(d)
      .set({ leaseUntil: sql`${db.now} + ${$.leaseMs}` })
      .where(and(eq(d.id, $.id), eq(d.leaseUntil, $.leaseUntil)))
      .returning({ leaseUntil: d.leaseUntil });
  });

const moveCursor = ({ cursor }: Ledger, of: Of) =>
  statement(["id", "after", "rev"], (db, $) => {
    const t = db.tables[of];
    return db
      .update(t)
      .set({ [cursor]: $.rev, ...(of === "tombstones" && cursor === "told" && { userId: untilTold(db, $.rev) }) })
      .where(and(eq(t.id, $.id), eq(t[cursor], $.after)))
      .returning({ rev: t.rev });
  });

/** Whose a deleted conversation was is kept for the webhook, and no longer. */
const untilTold = ({ tables: { tombstones: t } }: Source, rev: unknown) =>
  sql<string>`case when ${t.rev} <= cast(${rev} as integer) then '' else ${t.userId} end`;

const dropClaim = ({ claims }: Ledger) =>
  statement(["id", "leaseUntil"], (db, $) => {
    const d = db.tables[claims];
    return db.delete(d).where(and(eq(d.id, $.id), eq(d.leaseUntil, $.leaseUntil)));
  });

const freeClaim = ({ claims }: Ledger) =>
  statement(["id", "leaseUntil"], (db, $) => {
    const d = db.tables[claims];
    return db
      .update(d)
      .set({ leaseUntil: null })
      .where(and(eq(d.id, $.id), eq(d.leaseUntil, $.leaseUntil)));
  });

const putOff = ({ claims }: Ledger) =>
  statement(["id", "leaseUntil", "delayMs", "error"], (db, $) => {
    const d = db.tables[claims];
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
