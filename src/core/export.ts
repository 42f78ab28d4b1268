import { and, asc, eq, ne, sql } from "drizzle-orm";
import { type Db, type Source, statement } from "../db/db.ts";
import { NOBODY } from "../db/scope.ts";
import type { Conversation, Extension, Message, Turn } from "../db/tables.ts";
import { refuseAgents } from "./erasure.ts";
import type { Actor } from "./identity.ts";
import type { Post } from "./thread.ts";
import { readStoredPosts, wholeThread } from "./thread-parts.ts";
import { readUsage, type UsedByModel } from "./usage.ts";

/** Everything of one user, row by row. */
export type Exported =
  | { type: "conversation"; row: Conversation }
  | { type: "message"; row: Post }
  /** What the user hung on a message in a conversation of somebody else. */
  | { type: "extension"; row: Extension }
  | { type: "turn"; row: Turn }
  | { type: "read_marker"; row: { conversationId: string; seq: number } }
  | { type: "idempotency_key"; row: { key: string; expiresAt: number } }
  | { type: "usage"; row: UsedByModel };

/** Rows read at once; a message may be long. */
const ROWS = 100;
const MESSAGES = 20;
const FIRST = "00000000-0000-0000-0000-000000000000";

const selectConversations = statement(["userId", "updatedAt", "id", "limit"], (db, $) => {
  const c = db.tables.conversations;
  return db
    .select()
    .from(c)
    .where(and(eq(c.userId, $.userId), sql`(${c.updatedAt}, ${c.id}) > (${$.updatedAt}, ${$.id})`))
    .orderBy(asc(c.updatedAt), asc(c.id))
    .limit($.limit);
});

const elsewhere = ({ tables: { conversations: c } }: Source, userId: never) =>
  and(ne(c.userId, userId), ne(c.userId, NOBODY));

const selectSaid = statement(["userId", "after", "limit"], (db, $) => {
  const { messages: m, conversations: c } = db.tables;
  return db
    .select({ message: m })
    .from(m)
    .innerJoin(c, eq(c.id, m.conversationId))
    .where(and(eq(m.senderId, $.userId), sql`${m.id} > ${$.after}`, elsewhere(db, $.userId)))
    .orderBy(asc(m.id))
    .limit($.limit);
});

const selectHung = statement(["userId", "after", "limit"], (db, $) => {
  const { messageExtensions: e, messages: m, conversations: c } = db.tables;
  return db
    .select({ extension: e })
    .from(e)
    .innerJoin(m, eq(m.id, e.messageId))
    .innerJoin(c, eq(c.id, m.conversationId))
    .where(and(eq(e.authorId, $.userId), sql`${e.id} > ${$.after}`, elsewhere(db, $.userId)))
    .orderBy(asc(e.id))
    .limit($.limit);
});

const selectTurns = statement(["userId", "createdAt", "id", "limit"], (db, $) => {
  const t = db.tables.turns;
  return db
    .select()
    .from(t)
    .where(and(eq(t.userId, $.userId), sql`(${t.createdAt}, ${t.id}) > (${$.createdAt}, ${$.id})`))
    .orderBy(asc(t.createdAt), asc(t.id))
    .limit($.limit);
});

const selectMarkers = statement(["userId", "after", "limit"], (db, $) => {
  const r = db.tables.readMarkers;
  return db
    .select({ conversationId: r.conversationId, seq: r.seq })
    .from(r)
    .where(and(eq(r.readerId, $.userId), sql`${r.conversationId} > ${$.after}`))
    .orderBy(asc(r.conversationId))
    .limit($.limit);
});

const selectKeys = statement(["userId", "after", "limit"], (db, $) => {
  const k = db.tables.idempotencyKeys;
  return db
    .select({ key: k.key, expiresAt: k.expiresAt })
    .from(k)
    .where(and(eq(k.userId, $.userId), sql`${k.key} > ${$.after}`))
    .orderBy(asc(k.key))
    .limit($.limit);
});

/**
 * Everything of the actor's user: its conversations, each with all of its messages, what it said elsewhere, its turns,
 * markers, keys and sums. A conversation that changes meanwhile is given once. Throws 403 as `refuseAgents` does.
 */
export function exportUser(db: Db, actor: Actor): AsyncGenerator<Exported> {
  refuseAgents(actor);
  return everythingOf(db, actor);
}

async function* everythingOf(db: Db, actor: Actor): AsyncGenerator<Exported> {
  const { userId } = actor;
  const of = { userId, limit: ROWS };
  yield* conversationsOf(db, actor);
  const said = { userId, limit: MESSAGES };
  for await (const { message } of paged(
    { after: FIRST },
    (place) => db.all(selectSaid, { ...said, ...place }),
    behind,
  )) {
    yield { type: "message", row: { ...message, extensions: [] } };
  }
  const hung = paged({ after: FIRST }, (place) => db.all(selectHung, { ...said, ...place }), behindExtension);
  for await (const { extension } of hung) yield { type: "extension", row: extension };
  const turns = paged({ createdAt: -1, id: FIRST }, (place) => db.all(selectTurns, { ...of, ...place }), placeOfTurn);
  for await (const row of turns) yield { type: "turn", row };
  const markers = paged({ after: FIRST }, (place) => db.all(selectMarkers, { ...of, ...place }), behindMarker);
  for await (const row of markers) yield { type: "read_marker", row };
  const keys = paged({ after: "" }, (place) => db.all(selectKeys, { ...of, ...place }), behindKey);
  for await (const row of keys) yield { type: "idempotency_key", row };
  for (const row of await readUsage(db, actor, { from: 0, to: Number.MAX_SAFE_INTEGER })) yield { type: "usage", row };
}

async function* conversationsOf(db: Db, actor: Actor): AsyncGenerator<Exported> {
  const { userId } = actor;
  const given = new Set<string>(); // one that is touched meanwhile comes by again
  const read = (place: { updatedAt: number; id: string }) =>
    db.all(selectConversations, { userId, limit: ROWS, ...place });
  for await (const row of paged({ updatedAt: -1, id: FIRST }, read, ({ updatedAt, id }) => ({ updatedAt, id }))) {
    if (given.has(row.id)) continue;
    given.add(row.id);
    yield { type: "conversation", row };
    yield* messagesOf(db, actor, row.id);
  }
}

async function* messagesOf(db: Db, actor: Actor, conversationId: string): AsyncGenerator<Exported> {
  for await (const posts of readStoredPosts(db, actor, wholeThread(conversationId))) {
    for (const row of posts) yield { type: "message", row };
  }
}

const behind = ({ message }: { message: Message }) => ({ after: message.id });
const behindExtension = ({ extension }: { extension: Extension }) => ({ after: extension.id });
const placeOfTurn = ({ createdAt, id }: Turn) => ({ createdAt, id });
const behindMarker = ({ conversationId }: { conversationId: string }) => ({ after: conversationId });
const behindKey = ({ key }: { key: string }) => ({ after: key });

/** Rows page by page: each page begins behind the last row of the one before. */
async function* paged<R, P>(first: P, read: (place: P) => Promise<R[]>, placeOf: (row: R) => P): AsyncGenerator<R> {
  for (let place = first; ; ) {
    const rows = await read(place);
    yield* rows;
    const last = rows.at(-1);
    if (last === undefined) return;
    place = placeOf(last);
  }
}
