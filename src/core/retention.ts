import { and, asc, eq, inArray, isNull, lt, ne, sql } from "drizzle-orm";
import { type Db, guard, isConflict, statement } from "../db/db.ts";
import { NOBODY } from "../db/scope.ts";
import { usersAfter } from "../db/users.ts";
import { allowanceAt } from "./allowance.ts";
import { clearLeft } from "./clearing.ts";
import { deleteBehind } from "./conversation-deletion.ts";
import { blankLedger } from "./erasure.ts";
import { stopLive, type TurnDeps } from "./live.ts";
import { sleep } from "./time.ts";

/**
 * What is kept no longer: deleted messages' texts, and conversations that nobody has touched. Every instance sees to it;
 * no caller stands behind these statements, so no scope does.
 */

/** How often deleted texts are looked for, and untouched conversations, in milliseconds. */
const TEXTS_MS = 60_000;
const CONVERSATIONS_MS = 3_600_000;
/** A deletion that has not come to its end after so long is finished by whoever sees it, in milliseconds. */
const LEFT_MS = 60_000;
const MESSAGES_AT_ONCE = 50;
const USERS_AT_ONCE = 200;
const CONVERSATIONS_AT_ONCE = 50;

export type RetentionDeps = Pick<TurnDeps, "db" | "live" | "clock" | "log" | "retention" | "allowance">;

/** Sees to it from now on. Gives what stops it, and waits for what is under way. */
export function startRetention(deps: RetentionDeps): () => Promise<void> {
  const over = new AbortController();
  const { signal } = over;
  const texts = repeat(deps, { ms: TEXTS_MS, signal, work: () => eraseTexts(deps, signal) });
  const conversations = repeat(deps, { ms: CONVERSATIONS_MS, signal, work: () => deleteUntouched(deps, signal) });
  return async () => {
    over.abort();
    await Promise.all([texts, conversations]);
  };
}

type Repeated = { ms: number; signal: AbortSignal; work: () => Promise<void> };

async function repeat({ log }: RetentionDeps, { ms, signal, work }: Repeated): Promise<void> {
  while (!signal.aborted) {
    await work().catch((error) => log.error({ err: error }, "what is kept no longer could not be erased"));
    await sleep(ms, signal);
  }
}

const selectErased = statement(["before", "limit"], (db, $) => {
  const e = db.tables.erasures;
  return db.select().from(e).where(lt(e.erasedAt, $.before)).limit($.limit);
});

const deleteErased = statement(["userId", "erasedAt"], (db, $) => {
  const e = db.tables.erasures;
  return db
    .delete(e)
    .where(and(eq(e.userId, $.userId), eq(e.erasedAt, $.erasedAt)))
    .returning({ userId: e.userId });
});

/** Takes erased users out of the ledger whose budget of the day was still to be counted. */
async function forgetErased({ db, allowance }: RetentionDeps, now: number): Promise<void> {
  const before = allowanceAt({ allowance }, now).since;
  for (const { userId, erasedAt } of await db.all(selectErased, { before, limit: USERS_AT_ONCE })) {
    await blankLedger(db, { userId, until: erasedAt });
    await db.all(deleteErased, { userId, erasedAt });
  }
}

/** Blanks deleted messages whose time is over, finishes deletions that broke off, and leaves nothing of either in the log. */
export async function eraseTexts(deps: RetentionDeps, signal?: AbortSignal): Promise<void> {
  const { db, clock, retention } = deps;
  const now = clock();
  await forgetErased(deps, now);
  await clearLeft(db, now - LEFT_MS);
  while (!signal?.aborted && (await eraseSome(db, { before: now - retention.deletedMs, now }))) await sleep(0);
  await db.settleErasure();
}

const selectDeleted = statement(["before", "limit"], (db, $) => {
  const m = db.tables.messages;
  return db
    .select({ id: m.id, turnId: m.turnId })
    .from(m)
    .where(sql`deleted_at is not null and erased_at is null and ${m.deletedAt} <= ${$.before}`)
    .orderBy(asc(m.deletedAt))
    .limit($.limit);
});

/**
 * Takes no revision of the conversation: for all but an admin the message is blank since it was deleted. It counts as
 * erased once all that hung on it is gone, so that one that broke off is begun again. Tells whether there may be more.
 */
async function eraseSome(db: Db, { before, now }: { before: number; now: number }): Promise<boolean> {
  const rows = await db.all(selectDeleted, { before, limit: MESSAGES_AT_ONCE });
  if (rows.length === 0) return false;
  const { messageExtensions: e, turns: t, messages: m } = db.tables;
  const ids = rows.map(({ id }) => id);
  const turnIds = rows.flatMap(({ turnId }) => turnId ?? []);
  await db.delete(e).where(inArray(e.messageId, ids));
  await db.update(t).set({ options: null }).where(inArray(t.id, turnIds));
  await db
    .update(m)
    .set({ content: "", metadata: null, erasedAt: now })
    .where(and(inArray(m.id, ids), isNull(m.erasedAt)));
  return rows.length === MESSAGES_AT_ONCE;
}

const selectUsers = statement(["after", "limit"], (db, $) => {
  const c = db.tables.conversations;
  const oldest = sql<number>`(select min(${c.updatedAt}) from ${c} where ${c.userId} = users.user_id)`;
  return db
    .select({ userId: sql<string>`users.user_id`, oldest: oldest.mapWith(Number).as("oldest") })
    .from(usersAfter(db, $.after, $.limit));
});

const selectUntouched = statement(["userId", "before", "limit"], (db, $) => {
  const c = db.tables.conversations;
  return db
    .select({ id: c.id })
    .from(c)
    .where(and(eq(c.userId, $.userId), lt(c.updatedAt, $.before)))
    .limit($.limit);
});

/** A guard: nobody has touched it after all. */
const lockUntouched = statement(["conversationId", "before"], (db, $) => {
  const c = db.tables.conversations;
  return db
    .update(c)
    .set({ rev: sql`${c.rev} + 1` })
    .where(and(eq(c.id, $.conversationId), lt(c.updatedAt, $.before), ne(c.userId, NOBODY)))
    .returning({ id: c.id });
});

/** Deletes what nobody has touched for so long, as anybody's deletion would. It goes through the users, since an index does. */
export async function deleteUntouched(deps: RetentionDeps, signal?: AbortSignal): Promise<void> {
  const { db, clock, retention, log } = deps;
  if (retention.untouchedMs === null) return;
  const before = clock() - retention.untouchedMs;
  let number = 0;
  for (let after = NOBODY; !signal?.aborted; await sleep(0)) {
    const users = await db.all(selectUsers, { after, limit: USERS_AT_ONCE });
    for (const { userId, oldest } of users) {
      if (oldest >= before) continue;
      let some: number;
      do {
        some = await deleteSome(deps, { userId, before });
        number += some;
      } while (some === CONVERSATIONS_AT_ONCE && !signal?.aborted);
    }
    const last = users.at(-1);
    if (!last || users.length < USERS_AT_ONCE) break;
    after = last.userId;
  }
  if (number > 0) log.info({ conversations: number }, "conversations untouched for RETENTION_DAYS were deleted");
}

/** How many it deleted, or found touched meanwhile. */
async function deleteSome({ db, live, clock }: RetentionDeps, of: { userId: string; before: number }): Promise<number> {
  const rows = await db.all(selectUntouched, { ...of, limit: CONVERSATIONS_AT_ONCE });
  for (const { id } of rows) {
    const lock = guard(lockUntouched, { conversationId: id, before: of.before });
    const deleted = await deleteBehind(db, lock, { id, now: clock() }).catch((error) => {
      if (!isConflict(error)) throw error; // else it was touched meanwhile, or another instance was faster
    });
    if (deleted) stopLive(live, deleted.cancelled);
  }
  return rows.length;
}
