import { and, desc, eq, getTableName, lt, type SQL } from "drizzle-orm";
import { type Db, type Source, statement } from "../db/db.ts";
import { listedAs } from "../db/listed.ts";
import { inScope, scopeSlots } from "../db/scope.ts";
import type { Message } from "../db/tables.ts";
import type { Actor } from "./identity.ts";

/** Messages with text, whole or cut off; deleted, superseded and failed ones are left out, and notes of the system. */
export const listed = ({ tables }: Source): SQL => listedAs(getTableName(tables.messages));

const NEWEST = 2 ** 31 - 1;

const selectPage = statement([...scopeSlots, "conversationId", "before", "limit"], (db, $) => {
  const m = db.tables.messages;
  const c = db.tables.conversations;
  const { id, seq, role, content, createdAt } = m;
  return db
    .select({ id, seq, role, content, createdAt })
    .from(m)
    .innerJoin(c, eq(c.id, m.conversationId))
    .where(and(eq(m.conversationId, $.conversationId), inScope(db, $), lt(m.seq, $.before), listed(db)))
    .orderBy(desc(m.seq))
    .limit($.limit);
});

/** What lists show of a message. */
export type ListedMessage = Pick<Message, "id" | "seq" | "role" | "content" | "createdAt">;

export type MessagePage = { rows: ListedMessage[]; next: number | null };

/**
 * The newest `limit` messages of a conversation that lists show, oldest first; `next` is the `before` that leads to
 * older ones. Empty where the conversation is not the actor's to see.
 */
export async function listMessages(
  db: Db,
  actor: Actor,
  { conversationId, limit, before = NEWEST }: { conversationId: string; limit: number; before?: number | undefined },
): Promise<MessagePage> {
  const found = await db.all(selectPage, { ...actor, conversationId, before, limit: limit + 1 });
  const rows = found.slice(0, limit).reverse();
  return { rows, next: found.length > limit ? (rows[0]?.seq ?? null) : null };
}
