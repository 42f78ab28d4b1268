import { and, asc, desc, eq, getTableName, lt, type SQL, sql } from "drizzle-orm";
import { type Db, type Source, statement } from "../db/db.ts";
import { listedAs } from "../db/listed.ts";
import { firstPart, inPart, mayGoOn } from "../db/parts.ts";
import { inScope, scopeSlots } from "../db/scope.ts";
import type { Message } from "../db/tables.ts";
import type { Actor } from "./identity.ts";

/** Messages with text, whole or cut off; deleted, superseded and failed ones are left out, and notes of the system. */
export const listed = ({ tables }: Source): SQL => listedAs(getTableName(tables.messages));

const NEWEST = 2 ** 31 - 1;

const selectPlaces = statement([...scopeSlots, "conversationId", "before", "limit"], (db, $) => {
  const m = db.tables.messages;
  const c = db.tables.conversations;
  return db
    .select({ seq: m.seq })
    .from(m)
    .innerJoin(c, eq(c.id, m.conversationId))
    .where(and(eq(m.conversationId, $.conversationId), inScope(db, $), lt(m.seq, $.before), listed(db)))
    .orderBy(desc(m.seq))
    .limit($.limit);
});

const selectPart = statement([...scopeSlots, "conversationId", "from", "to"], (db, $) => {
  const m = db.tables.messages;
  const between = sql`${m.seq} between cast(${$.from} as integer) and cast(${$.to} as integer)`;
  const part = firstPart(db, {
    where: and(eq(m.conversationId, $.conversationId), inScope(db, $), between, listed(db)),
    order: ({ seq }) => [asc(seq)],
  });
  const { id, seq, role, content, createdAt } = m;
  return db
    .select({ id, seq, role, content, createdAt, ahead: part.ahead, bytes: part.bytes })
    .from(part)
    .innerJoin(m, eq(m.id, part.id))
    .where(inPart(part))
    .orderBy(asc(m.seq));
});

/** What lists show of a message. */
export type ListedMessage = Pick<Message, "id" | "seq" | "role" | "content" | "createdAt">;

/** Messages of one conversation from one place to another. */
export type Span = { conversationId: string; from: number; to: number };

/** A page: where its messages stand, and the `before` that leads to older ones. */
export type MessagePage = { span: Span | null; next: number | null };

/**
 * Where the newest `limit` messages of a conversation stand that lists show; their texts are not read yet. There are none
 * where the conversation is not the actor's to see.
 */
export async function findMessages(
  db: Db,
  actor: Actor,
  { conversationId, limit, before = NEWEST }: { conversationId: string; limit: number; before?: number | undefined },
): Promise<MessagePage> {
  const found = await db.all(selectPlaces, { ...actor, conversationId, before, limit: limit + 1 });
  const [newest] = found;
  const oldest = found.slice(0, limit).at(-1);
  if (!newest || !oldest) return { span: null, next: null };
  const span = { conversationId, from: oldest.seq, to: newest.seq };
  return { span, next: found.length > limit ? oldest.seq : null };
}

/** The messages of a page, oldest first, in parts: the next one is read when it is asked for. */
export async function* readMessages(db: Db, actor: Actor, span: Span | null): AsyncGenerator<ListedMessage[]> {
  let from = span?.from;
  while (span && from !== undefined) {
    const rows = await db.all(selectPart, { ...actor, ...span, from });
    const last = mayGoOn(rows) ? rows.at(-1) : undefined;
    yield rows;
    from = last && last.seq + 1;
  }
}
