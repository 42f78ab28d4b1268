import { and, eq, sql } from "drizzle-orm";
import { guard, statement, step } from "../db/db.ts";
import type { TurnDeps } from "./live.ts";
import { nextRev, nothingIfConflict } from "./own-words.ts";

/** Sessions of others that a user is the agent of. */

const AT_ONCE = 50;

const selectServed = statement(["userId", "limit"], (db, $) => {
  const c = db.tables.conversations;
  return db.select({ id: c.id }).from(c).where(eq(c.agentId, $.userId)).limit($.limit);
});

/** A guard: a session without its agent; one that it was in control of waits for another. */
const leaveSession = statement(["userId", "conversationId", "now"], (db, $) => {
  const c = db.tables.conversations;
  const waits = sql`${c.control} = 'agent' and ${c.status} <> 'ended'`;
  return db
    .update(c)
    .set({
      agentId: null,
      rev: sql`${c.rev} + 1`,
      control: sql`case when ${waits} then 'queue' else ${c.control} end`,
      status: sql`case when ${waits} then 'transferred' else ${c.status} end`,
      queuedAt: sql`case when ${waits} then ${$.now} else ${c.queuedAt} end`,
    })
    .where(and(eq(c.id, $.conversationId), eq(c.agentId, $.userId)))
    .returning({ id: c.id });
});

const forgetInNotes = statement(["userId", "conversationId"], (db, $) => {
  const m = db.tables.messages;
  const names = sql`${$.userId} in (${db.textIn(m.metadata, "by")}, ${db.textIn(m.metadata, "agent_id")})`;
  return db
    .update(m)
    .set({ metadata: null, rev: nextRev(db, $.conversationId) })
    .where(and(eq(m.conversationId, $.conversationId), eq(m.role, "system"), names));
});

/** Takes a user out of the sessions that it is the agent of. Gives how many there were. */
export async function leaveSessions({ db, clock }: Pick<TurnDeps, "db" | "clock">, userId: string): Promise<number> {
  for (let left = 0; ; ) {
    const served = await db.all(selectServed, { userId, limit: AT_ONCE });
    for (const { id: conversationId } of served) {
      const of = { userId, conversationId };
      const steps = [guard(leaveSession, { ...of, now: clock() }), step(forgetInNotes, of)];
      if (await db.batch(steps).catch(nothingIfConflict)) left++;
    }
    if (served.length < AT_ONCE) return left;
  }
}
