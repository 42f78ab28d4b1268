import { and, asc, eq, lte, sql } from "drizzle-orm";
import { type Db, statement } from "../db/db.ts";
import { NOBODY } from "../db/scope.ts";
import { allowanceAt } from "./allowance.ts";
import { removeConversation } from "./conversation-deletion.ts";
import { AppError } from "./errors.ts";
import type { Actor } from "./identity.ts";
import { stopLive, type TurnDeps } from "./live.ts";
import { blankElsewhere } from "./own-words.ts";
import { leaveSessions } from "./served-sessions.ts";
import { sleep } from "./time.ts";

/** Everything of one user goes, in parts of which none holds up the others. What broke off is begun again by asking again. */

const AT_ONCE = 200;

const selectOwn = statement(["userId", "until", "limit"], (db, $) => {
  const c = db.tables.conversations;
  return db
    .select({ id: c.id })
    .from(c)
    .where(and(eq(c.userId, $.userId), lte(c.createdAt, $.until)))
    .orderBy(asc(c.updatedAt))
    .limit($.limit);
});

const deleteKeys = statement(["userId", "limit"], (db, $) => {
  const k = db.tables.idempotencyKeys;
  const some = sql`(select ${k.key} from ${k} where ${k.userId} = ${$.userId} limit ${$.limit})`;
  return db.delete(k).where(sql`${k.userId} = ${$.userId} and ${k.key} in ${some}`).returning({ key: k.key });
});

/** What a turn cost stays, and when; whose it was and what it was asked for do not. */
const blankTurns = statement(["userId", "until", "limit"], (db, $) => {
  const t = db.tables.turns;
  const some = sql`(select ${t.id} from ${t} where ${t.userId} = ${$.userId} and ${t.createdAt} <= ${$.until} limit ${$.limit})`;
  return db
    .update(t)
    .set({ userId: NOBODY, options: null, requestId: null })
    .where(sql`${t.id} in ${some}`)
    .returning({ id: t.id });
});

const deleteMarkers = statement(["userId", "limit"], (db, $) => {
  const r = db.tables.readMarkers;
  const some = sql`(select ${r.conversationId} from ${r} where ${r.readerId} = ${$.userId} limit ${$.limit})`;
  return db
    .delete(r)
    .where(sql`${r.readerId} = ${$.userId} and ${r.conversationId} in ${some}`)
    .returning({ id: r.conversationId });
});

/** How much there was of each. */
export type Erased = {
  conversations: number;
  /** Of these conversations, whoever said them. */
  messages: number;
  /** What the user said in conversations of others, and hung on messages there. */
  messagesElsewhere: number;
  extensionsElsewhere: number;
  /** Sessions of others that the user was the agent of. */
  sessionsLeft: number;
  readMarkers: number;
  idempotencyKeys: number;
  turns: number;
};

export type ErasureDeps = Pick<TurnDeps, "db" | "live" | "clock" | "allowance">;

/** Throws 403 for an agent, who serves others' conversations: what is a user's is for the user and admins. */
export function refuseAgents({ sees }: Actor): void {
  if (sees === "live") throw new AppError("forbidden", "This is for the user itself or an admin.");
}

/**
 * Erases everything of the actor's user that was there when this began: conversations as their deletion does, what it said
 * elsewhere, markers, keys, and its name in the ledger. Again it finds nothing. Throws 403 as `refuseAgents` does.
 */
export async function eraseUser(deps: ErasureDeps, actor: Actor): Promise<Erased> {
  refuseAgents(actor);
  const { db, clock } = deps;
  const { userId } = actor;
  const until = clock();
  const own = await deleteOwn(deps, actor, until);
  const elsewhere = await blankElsewhere(deps, userId);
  const part = { userId, until, limit: AT_ONCE };
  return {
    ...own,
    ...elsewhere,
    sessionsLeft: await leaveSessions(deps, userId),
    readMarkers: await countParts(() => db.all(deleteMarkers, part)),
    idempotencyKeys: await countParts(() => db.all(deleteKeys, part)),
    turns: await leaveLedger(deps, { userId, until }),
  };
}

const noteErasure = statement(["userId", "until"], (db, $) => {
  const e = db.tables.erasures;
  return db
    .insert(e)
    .values({ userId: $.userId, erasedAt: $.until })
    .onConflictDoUpdate({ target: e.userId, set: { erasedAt: $.until } })
    .returning({ userId: e.userId });
});

/** Who has a budget of tokens does not begin the day anew: its turns of this day are blanked once the day is over. */
async function leaveLedger({ db, allowance }: ErasureDeps, { userId, until }: { userId: string; until: number }) {
  const { mostTokens, since } = allowanceAt({ allowance }, until);
  if (mostTokens === null) return blankLedger(db, { userId, until });
  await db.all(noteErasure, { userId, until });
  return blankLedger(db, { userId, until: since - 1 });
}

/** Takes a user out of the turns that it began up to a moment, in milliseconds. Gives how many there were. */
export const blankLedger = (db: Db, of: { userId: string; until: number }): Promise<number> =>
  countParts(() => db.all(blankTurns, { ...of, limit: AT_ONCE }));

async function deleteOwn({ db, live, clock }: ErasureDeps, actor: Actor, until: number) {
  const { userId } = actor;
  let [conversations, messages] = [0, 0];
  for (;;) {
    const found = await db.all(selectOwn, { userId, until, limit: AT_ONCE });
    if (found.length === 0) return { conversations, messages };
    for (const { id } of found) {
      const deleted = await removeConversation(db, actor, { id, now: clock() }).catch(nothingIfGone);
      if (!deleted) continue;
      stopLive(live, deleted.cancelled);
      conversations++;
      messages += deleted.messages;
    }
  }
}

/** Somebody else was faster. */
function nothingIfGone(error: unknown): undefined {
  if (!(error instanceof AppError) || error.code !== "not_found") throw error;
}

/** Works until nothing is left, and lets others in between. */
async function countParts(work: () => Promise<readonly unknown[]>): Promise<number> {
  for (let done = 0; ; await sleep(0)) {
    const part = await work();
    done += part.length;
    if (part.length < AT_ONCE) return done;
  }
}
