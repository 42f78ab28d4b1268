import { and, eq, sql } from "drizzle-orm";
import { type Db, guard, isConflict, statement, step } from "../db/db.ts";
import { inScope, scopeSlots } from "../db/scope.ts";
import { notFound } from "./errors.ts";
import type { Actor } from "./identity.ts";

const lockRow = statement([...scopeSlots, "conversationId"], (db, $) => {
  const t = db.tables.conversations;
  return db
    .update(t)
    .set({ rev: sql`${t.rev} + 1` })
    .where(and(eq(t.id, $.conversationId), inScope(db, $)))
    .returning({ id: t.id });
});

const insertTombstone = statement(["id", "now"], (db, $) => {
  const t = db.tables.conversations;
  const of = sql`from ${t} where ${t.id} = ${$.id}`;
  return db.insert(db.tables.tombstones).values({
    id: $.id,
    userId: sql`(select ${t.userId} ${of})`,
    rev: sql`(select ${t.rev} ${of})`,
    told: sql`(select ${t.told} ${of})`,
    mirrored: sql`(select ${t.mirrored} ${of})`,
    deletedAt: $.now,
  });
});

const cancelTurns = statement(["id", "error", "now"], (db, $) => {
  const t = db.tables.turns;
  return db
    .update(t)
    .set({ status: "failed", error: $.error, leaseUntil: null, completedAt: $.now })
    .where(and(eq(t.conversationId, $.id), sql`${t.status} in ('queued', 'in_progress')`))
    .returning({ id: t.id });
});

const deleteRow = statement(["id"], (db, $) =>
  db.delete(db.tables.conversations).where(eq(db.tables.conversations.id, $.id)),
);

/**
 * Deletes a conversation with its messages; turns stay as a ledger. Gives the ids of the turns that this cancelled,
 * whose providers are still to be stopped. Throws 404 as `getConversation` does.
 */
export async function deleteConversation(
  db: Db,
  actor: Actor,
  { id, now }: { id: string; now: number },
): Promise<string[]> {
  const error = { code: "turn_cancelled", detail: "The conversation was deleted." };
  const [, , cancelled] = await db
    .batch([
      guard(lockRow, { ...actor, conversationId: id }),
      step(insertTombstone, { id, now }),
      step(cancelTurns, { id, error, now }),
      step(deleteRow, { id }),
    ])
    .catch(noRow);
  return cancelled.map((turn) => turn.id);
}

function noRow(error: unknown): never {
  throw isConflict(error) ? notFound("conversation") : error;
}
