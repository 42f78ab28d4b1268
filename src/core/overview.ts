import { and, asc, desc, eq, sql } from "drizzle-orm";
import { type Db, statement } from "../db/db.ts";
import { inScope, scopeSlots } from "../db/scope.ts";
import type { Conversation, Turn } from "../db/tables.ts";
import { usersAfter } from "../db/users.ts";
import { type ConversationCursor, getConversation, NEWEST } from "./conversations.ts";
import type { Actor } from "./identity.ts";

/** Lists for whoever looks after the service. */

/** A user with how many conversations it has, and when the last of them was touched, in milliseconds. */
export type ListedUser = { userId: string; conversations: number; lastActivity: number };

const selectUsers = statement([...scopeSlots, "after", "limit"], (db, $) => {
  const c = db.tables.conversations;
  const userId = sql<string>`users.user_id`;
  const of = sql`from ${c} where ${c.userId} = ${userId}`;
  return db
    .select({
      userId,
      conversations: sql<number>`(select count(*) ${of})`.mapWith(Number),
      lastActivity: sql<number>`(select max(${c.updatedAt}) ${of})`.mapWith(Number),
    })
    .from(usersAfter(db, $.after, $.limit))
    .where(inScope(db, $, { of: userId as never }));
});

/** Users who have conversations, in the order of their ids: one more than `limit` where there are more. */
export const listUsers = (db: Db, actor: Actor, page: { limit: number; after: string }): Promise<ListedUser[]> =>
  db.all(selectUsers, { ...actor, after: page.after, limit: page.limit + 1 });

const selectByCreation = statement([...scopeSlots, "id", "limit"], (db, $) => {
  const c = db.tables.conversations;
  return db
    .select()
    .from(c)
    .where(and(sql`${c.id} < ${$.id}`, inScope(db, $)))
    .orderBy(desc(c.id))
    .limit($.limit);
});

const selectOfUser = statement([...scopeSlots, "userId", "updatedAt", "id", "limit"], (db, $) => {
  const c = db.tables.conversations;
  return db
    .select()
    .from(c)
    .where(and(eq(c.userId, $.userId), inScope(db, $), sql`(${c.updatedAt}, ${c.id}) < (${$.updatedAt}, ${$.id})`))
    .orderBy(desc(c.updatedAt), desc(c.id))
    .limit($.limit);
});

/** What is looked through for one page: few of many may have the status that is asked for. */
const LOOK = 200;
const MOST_LOOKS = 5;

type Wanted = { limit: number; after?: ConversationCursor | undefined; status: Conversation["status"] | undefined };
type Found = { rows: Conversation[]; next: ConversationCursor | null };

/**
 * Conversations of all users, the newest first; of the one that the actor names, the last touched first. Where a status is
 * rare, a page may hold fewer than `limit`, or none, and have another behind it.
 */
export async function listEverybodys(db: Db, actor: Actor, { limit, after = NEWEST, status }: Wanted): Promise<Found> {
  const look = (place: ConversationCursor, most: number) =>
    actor.owner === null
      ? db.all(selectByCreation, { ...actor, id: place.id, limit: most })
      : db.all(selectOfUser, { ...actor, userId: actor.owner, ...place, limit: most });
  const rows: Conversation[] = [];
  const most = status === undefined ? limit + 1 : LOOK;
  let place = after;
  for (let looks = 0; looks < MOST_LOOKS; looks++) {
    const found = await look(place, most);
    for (const row of found) {
      if (rows.length === limit) return { rows, next: place };
      if (status === undefined || row.status === status) rows.push(row);
      place = { updatedAt: row.updatedAt, id: row.id };
    }
    if (found.length < most) return { rows, next: null };
  }
  return { rows, next: place };
}

const selectTurns = statement([...scopeSlots, "conversationId", "after", "limit"], (db, $) => {
  const { turns: t, messages: m, conversations: c } = db.tables;
  return db
    .select({ turn: t, seq: m.seq })
    .from(m)
    .innerJoin(t, and(eq(t.id, m.turnId), eq(t.messageId, m.id))) // by the answer, which each has one of
    .innerJoin(c, eq(c.id, m.conversationId))
    .where(and(eq(m.conversationId, $.conversationId), inScope(db, $), sql`${m.seq} > ${$.after}`))
    .orderBy(asc(m.seq))
    .limit($.limit);
});

export type ListedTurn = { turn: Turn; seq: number };

/** A conversation's turns, oldest first: one more than `limit` where there are more. Throws 404 as `getConversation` does. */
export async function listTurns(
  db: Db,
  actor: Actor,
  { conversationId, after = -1, limit }: { conversationId: string; after?: number | undefined; limit: number },
): Promise<ListedTurn[]> {
  const rows = await db.all(selectTurns, { ...actor, conversationId, after, limit: limit + 1 });
  if (rows.length === 0) await getConversation(db, actor, conversationId);
  return rows;
}
