import { and, desc, eq, isNotNull, or, sql } from "drizzle-orm";
import { type Db, statement } from "../db/db.ts";
import { inScope, scopeSlots } from "../db/scope.ts";
import { notFound } from "./errors.ts";
import type { Actor } from "./identity.ts";

/** Conversations by what their clients call them: by our id, or by one of the client's own, unique among its user's. */

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

const selectCalled = statement([...scopeSlots, "id", "userId", "clientId"], (db, $) => {
  const t = db.tables.conversations;
  return db
    .select({ id: t.id })
    .from(t)
    .where(and(or(eq(t.id, $.id), and(eq(t.userId, $.userId), eq(t.clientId, $.clientId))), inScope(db, $)))
    .orderBy(sql`case when ${t.id} = ${$.id} then 0 else 1 end`)
    .limit(1);
});

/**
 * The id of the conversation that the actor calls so: one that it sees by our id, else one of its user's by the client's.
 * undefined where there is none; one of somebody else's is none.
 */
export async function findCalled(db: Db, actor: Actor, called: string): Promise<string | undefined> {
  const id = called.toLowerCase();
  const [row] = await db.all(selectCalled, { ...actor, id: UUID.test(id) ? id : null, clientId: called });
  return row?.id;
}

const selectOfAnybody = statement([...scopeSlots, "clientId"], (db, $) => {
  const t = db.tables.conversations;
  return db
    .select({ id: t.id })
    .from(t)
    .where(and(isNotNull(t.clientId), eq(t.clientId, $.clientId), inScope(db, $)))
    .orderBy(desc(t.updatedAt))
    .limit(2);
});

/** The same; who sees everybody's and names no user is given anybody's that no other shares its name with. Throws 404 for none. */
export async function getCalled(db: Db, actor: Actor, called: string): Promise<string> {
  const own = await findCalled(db, actor, called);
  if (own !== undefined) return own;
  if (actor.sees !== "all" || actor.owner !== null) throw notFound("conversation");
  const [row, ...others] = await db.all(selectOfAnybody, { ...actor, clientId: called });
  if (!row || others.length > 0) throw notFound("conversation");
  return row.id;
}

/**
 * Throws 404 for an agent that names another user: it does not see what that user calls so, and must not learn of it by what
 * it may make.
 */
export function mayMakeCalled({ sees, self, userId }: Actor): void {
  if (sees === "live" && userId !== self) throw notFound("conversation");
}
