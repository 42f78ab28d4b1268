import { and, eq, sql } from "drizzle-orm";
import { type Db, guard, isConflict, statement } from "../db/db.ts";
import { inScope, scopeSlots } from "../db/scope.ts";
import { notFound } from "./errors.ts";
import type { Actor } from "./identity.ts";

/** A guard: a marker of the session's reader, unless it is there and further on; none beyond the session's last change. */
const writeMarker = statement([...scopeSlots, "conversationId", "seq"], (db, $) => {
  const { readMarkers: r, conversations: c } = db.tables;
  const seq = sql`cast(${$.seq} as integer)`;
  const read = db
    .select({
      conversationId: c.id,
      readerId: sql<string>`cast(${$.self} as text)`.as("reader_id"),
      seq: sql<number>`case when ${c.rev} < ${seq} then ${c.rev} else ${seq} end`.as("seq"),
    })
    .from(c)
    .where(and(eq(c.id, $.conversationId), inScope(db, $)));
  return db
    .insert(r)
    .select(read)
    .onConflictDoUpdate({
      target: [r.conversationId, r.readerId],
      set: { seq: sql`case when excluded.seq > ${r.seq} then excluded.seq else ${r.seq} end` },
    })
    .returning({ seq: r.seq });
});

/** Notes that the actor has read a session up to a message's `seq`; a marker never goes back. Throws 404. */
export async function markRead(db: Db, actor: Actor, { conversationId, seq }: { conversationId: string; seq: number }) {
  await db.batch([guard(writeMarker, { ...actor, conversationId, seq })]).catch((error) => {
    throw isConflict(error) ? notFound("session") : error;
  });
}
