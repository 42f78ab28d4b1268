import { and, eq, inArray, lte, or, sql } from "drizzle-orm";
import { type Db, guard, isConflict, statement, step } from "../db/db.ts";
import { CANCELLED, LEASE_MS, type LiveTurn, stopLive, type TurnDeps } from "./live.ts";
import { endLeasesOfTheDead, sweepTurns } from "./recovery.ts";

/** What a process does for itself, whoever its turns are for: no caller stands behind these statements, so no scope does. */

/** How often the text so far is stored, and cancellations by others are looked for, in milliseconds. */
const TEXT_MS = 500;
/** How often leases are renewed, and lost turns looked for, in milliseconds. */
const LEASES_MS = 3_000;
const KEYS_MS = 600_000;

/** Keeps the turns of this process and closes what others lost, from now on. Gives what stops it. */
export async function startUpkeep(deps: TurnDeps): Promise<() => void> {
  const keepLeases = async () => {
    await renewLeases(deps);
    await sweepTurns(deps);
  };
  const keepText = () => Promise.all([saveText(deps), heedCancellations(deps)]);
  await endLeasesOfTheDead(deps);
  await keepLeases();
  const timers = [
    every(deps, TEXT_MS, keepText),
    every(deps, LEASES_MS, keepLeases),
    every(deps, KEYS_MS, () => forgetKeys(deps.db, deps.clock())),
  ];
  return () => timers.forEach(clearInterval);
}

function every({ log }: TurnDeps, ms: number, work: () => Promise<unknown>): NodeJS.Timeout {
  let busy = false;
  const timer = setInterval(() => {
    if (busy) return;
    busy = true;
    work()
      .catch((error) => log.error({ err: error }, "the upkeep of turns failed"))
      .finally(() => {
        busy = false;
      });
  }, ms);
  return timer.unref();
}

/**
 * Renews the leases of the turns that this process runs or holds in line, and stops those that it ran and that were ended
 * by somebody else. One that was taken over while it waited is another's to renew.
 */
export async function renewLeases({ db, live }: TurnDeps): Promise<void> {
  const running = [...live.holding];
  const waiting = [...live.turns.keys()].filter((id) => !live.holding.has(id));
  if (running.length + waiting.length === 0) return;
  const t = db.tables.turns;
  const kept = await db
    .update(t)
    .set({ leaseUntil: sql`${db.now} + ${LEASE_MS}` })
    .where(
      or(and(inArray(t.id, running), eq(t.status, "in_progress")), and(inArray(t.id, waiting), eq(t.status, "queued"))),
    )
    .returning({ id: t.id });
  const open = new Set(kept.map((turn) => turn.id));
  for (const id of running) if (!open.has(id)) live.turns.get(id)?.stop.abort(CANCELLED);
}

const writeText = statement(["answerId", "content"], (db, $) => {
  const m = db.tables.messages;
  return db
    .update(m)
    .set({ content: $.content })
    .where(and(eq(m.id, $.answerId), eq(m.status, "in_progress")))
    .returning({ id: m.id });
});

const writeRestarts = statement(["turnId", "n"], (db, $) => {
  const t = db.tables.turns;
  return db
    .update(t)
    .set({ restarts: $.n })
    .where(and(eq(t.id, $.turnId), eq(t.status, "in_progress")));
});

/** Stores what has grown of the answers that are being made here, and stops those that somebody else has ended. */
export async function saveText(deps: TurnDeps): Promise<void> {
  const { live } = deps;
  const running = [...live.holding].map((id) => live.turns.get(id)).filter((turn) => turn !== undefined);
  await Promise.all(running.map((turn) => saveOne(deps, turn)));
}

async function saveOne({ db, log }: TurnDeps, { turnId, answerId, progress, stop }: LiveTurn): Promise<void> {
  const { n, text: content } = progress.standing;
  const { saved } = progress;
  if (saved.n === n && saved.offset === content.length) return;
  const restarted = saved.n === n ? [] : [step(writeRestarts, { turnId, n })];
  try {
    await db.batch([...restarted, guard(writeText, { answerId, content })]); // the turn first, as everybody locks them
    progress.saved = { n, offset: content.length };
  } catch (error) {
    if (isConflict(error)) stop.abort(CANCELLED);
    else log.error({ err: error, turn_id: turnId }, "the text so far could not be stored");
  }
}

const selectMarked = statement([], (db) => {
  const t = db.tables.turns;
  return db
    .select({ id: t.id })
    .from(t)
    .where(
      sql`status in ('queued', 'in_progress') and ${t.status} = 'in_progress' and ${t.cancelRequestedAt} is not null`,
    );
});

/** Stops the turns of this process that were cancelled by way of another. */
export async function heedCancellations({ db, live }: TurnDeps): Promise<void> {
  if (live.holding.size === 0) return;
  const marked = await db.all(selectMarked, {});
  stopLive(
    live,
    marked.map((turn) => turn.id),
  );
}

const deleteExpired = statement(["now"], (db, $) => {
  const k = db.tables.idempotencyKeys;
  return db.delete(k).where(lte(k.expiresAt, $.now)).returning({ key: k.key });
});

/** Forgets the keys whose time is over. */
export async function forgetKeys(db: Db, now: number): Promise<void> {
  await db.all(deleteExpired, { now });
}
