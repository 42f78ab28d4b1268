import { asc, eq, inArray, lt, lte, or, sql } from "drizzle-orm";
import { type Db, guard, isConflict, type Source, type Step, statement, step } from "../db/db.ts";
import type { StreamEvent } from "./event.ts";

/** Webhooks as they are stored: each is one instance's to work on, by the database's clock, until it is done. */

/** `ageMs`: since it came, at the moment when it was taken. */
export type StoredEvent = {
  id: string;
  event: unknown;
  attempts: number;
  receivedAt: number;
  ageMs: number;
  leaseUntil: number;
};

const until = (db: Source, ms: unknown) => sql<number>`${db.now} + cast(${ms} as integer)`;

const shown = ({ now, tables: { streamEvents: e } }: Source) => ({
  ...{ id: e.id, event: e.event, attempts: e.attempts, receivedAt: e.receivedAt },
  ageMs: sql<number>`${now} - ${e.receivedAt}`.mapWith(Number),
  leaseUntil: sql<number>`${e.leaseUntil}`.mapWith(Number),
});

const insertEvent = statement(["id", "event", "leaseMs"], (db, $) =>
  db
    .insert(db.tables.streamEvents)
    .values({ id: $.id, event: $.event, receivedAt: db.now, leaseUntil: until(db, $.leaseMs) })
    .returning(shown(db)),
);

const insertDone = statement(["id", "error"], (db, $) =>
  db
    .insert(db.tables.streamEvents)
    .values({ id: $.id, receivedAt: db.now, doneAt: db.now, error: $.error })
    .returning({ id: db.tables.streamEvents.id }),
);

const isFree = (db: Source) => {
  const e = db.tables.streamEvents;
  const isPast = (column: typeof e.leaseUntil | typeof e.retryAt) => or(sql`${column} is null`, lt(column, db.now));
  return sql`(done_at is null and ${isPast(e.leaseUntil)} and ${isPast(e.retryAt)})`;
};

const takeDue = statement(["leaseMs", "limit"], (db, $) => {
  const e = db.tables.streamEvents;
  const due = db.select({ id: e.id }).from(e).where(isFree(db)).orderBy(asc(e.receivedAt), asc(e.id)).limit($.limit);
  return db
    .update(e)
    .set({ leaseUntil: until(db, $.leaseMs) })
    .where(sql`${inArray(e.id, due)} and ${isFree(db)}`)
    .returning(shown(db));
});

const holdOn = statement(["id", "leaseUntil", "leaseMs"], (db, $) => {
  const e = db.tables.streamEvents;
  return db
    .update(e)
    .set({ leaseUntil: until(db, $.leaseMs) })
    .where(sql`${e.id} = ${$.id} and done_at is null and ${e.leaseUntil} = ${$.leaseUntil}`)
    .returning(shown(db));
});

// Its time is kept so that retries are told apart; what it said is not.
const finish = statement(["id", "error"], (db, $) => {
  const e = db.tables.streamEvents;
  return db.update(e).set({ event: null, leaseUntil: null, doneAt: db.now, error: $.error }).where(eq(e.id, $.id));
});

const putOff = statement(["id", "delayMs", "error"], (db, $) => {
  const e = db.tables.streamEvents;
  return db
    .update(e)
    .set({ leaseUntil: null, attempts: sql`${e.attempts} + 1`, retryAt: until(db, $.delayMs), error: $.error })
    .where(sql`${e.id} = ${$.id} and done_at is null`);
});

const free = statement(["id", "leaseUntil"], (db, $) => {
  const e = db.tables.streamEvents;
  return db
    .update(e)
    .set({ leaseUntil: null })
    .where(sql`${e.id} = ${$.id} and done_at is null and ${e.leaseUntil} = ${$.leaseUntil}`);
});

const forget = statement(["keptMs"], (db, $) => {
  const e = db.tables.streamEvents;
  return db.delete(e).where(lte(e.doneAt, sql`${db.now} - cast(${$.keptMs} as integer)`));
});

const countWaiting = statement([], (db) => {
  const e = db.tables.streamEvents;
  return db
    .select({
      waiting: sql<number>`count(*)`.mapWith(Number),
      oldest: sql<number | null>`min(${e.receivedAt})`.mapWith((ms) => (ms === null ? null : Number(ms))),
    })
    .from(e)
    .where(sql`done_at is null`);
});

/** The rows of a batch; none where its guard had none. */
async function rowsOf<R>(db: Db, only: Step<R>): Promise<R[]> {
  const [rows] = await db.batch([only]).catch((error) => {
    if (!isConflict(error)) throw error;
    return [[]];
  });
  return rows ?? [];
}

/** Stores an event, held for `leaseMs`; undefined where its id is known. */
export const store = async (db: Db, given: { id: string; event: StreamEvent; leaseMs: number }) =>
  (await rowsOf(db, guard(insertEvent, given)))[0];

/** Stores the id of one of which nothing can be made; tells whether it is new. */
export const storeDone = async (db: Db, given: { id: string; error: string }): Promise<boolean> =>
  (await rowsOf(db, guard(insertDone, given))).length > 0;

/** Takes events that nobody works on and whose time has come, those first that came first. */
export async function takeFree(db: Db, given: { leaseMs: number; limit: number }): Promise<StoredEvent[]> {
  const rows = await rowsOf(db, step(takeDue, given));
  return rows.sort((one, other) => one.receivedAt - other.receivedAt || (one.id < other.id ? -1 : 1));
}

/** Holds an event for another `leaseMs`; undefined where it is no longer held. */
export const hold = async (db: Db, { id, leaseUntil }: StoredEvent, leaseMs: number) =>
  (await rowsOf(db, guard(holdOn, { id, leaseUntil, leaseMs })))[0];

export const done = (db: Db, id: string, error: string | null) => rowsOf(db, step(finish, { id, error }));

export const tryLater = (db: Db, later: { id: string; delayMs: number; error: string | null }) =>
  rowsOf(db, step(putOff, later));

/** Gives events back, so that any instance may work on them at once. */
export async function giveBack(db: Db, events: readonly StoredEvent[]): Promise<void> {
  if (events.length > 0) await db.batch(events.map(({ id, leaseUntil }) => step(free, { id, leaseUntil })));
}

export const forgetDone = (db: Db, keptMs: number) => rowsOf(db, step(forget, { keptMs }));

/** Events that are not done, and when the first of them came, in milliseconds. */
export async function waitingEvents(db: Db): Promise<{ waiting: number; oldest: number | null }> {
  const [counted] = await db.all(countWaiting, {});
  return counted ?? { waiting: 0, oldest: null };
}
