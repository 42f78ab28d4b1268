import { and, eq, sql } from "drizzle-orm";
import { type Db, guard, isConflict, statement, step } from "../db/db.ts";
import { inScope, scopeSlots } from "../db/scope.ts";
import { notFound } from "./errors.ts";
import type { Actor } from "./identity.ts";

const selectId = statement([...scopeSlots, "conversationId"], (db, $) => {
  const c = db.tables.conversations;
  return db
    .select({ id: c.id })
    .from(c)
    .where(and(eq(c.id, $.conversationId), inScope(db, $)));
});

const writeMarker = statement(["conversationId", "self", "seq"], (db, $) => {
  const { readMarkers: r, conversations: c } = db.tables;
  const seq = sql`cast(${$.seq} as integer)`;
  return db
    .insert(r)
    .values({
      conversationId: $.conversationId,
      readerId: $.self,
      seq: sql`(select case when ${c.rev} < ${seq} then ${c.rev} else ${seq} end from ${c} where ${c.id} = ${$.conversationId})`,
    })
    .onConflictDoUpdate({
      target: [r.conversationId, r.readerId],
      set: { seq: sql`case when excluded.seq > ${r.seq} then excluded.seq else ${r.seq} end` },
    });
});

/** Notes that the actor has read a session up to a message's `seq`; a marker never goes back. Throws 404. */
export async function markRead(db: Db, actor: Actor, { conversationId, seq }: { conversationId: string; seq: number }) {
  const values = { ...actor, conversationId, seq };
  await db.batch([guard(selectId, values), step(writeMarker, values)]).catch((error) => {
    throw isConflict(error) ? notFound("session") : error;
  });
}
