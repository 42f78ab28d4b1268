import { and, count, desc, eq, ne, sql } from "drizzle-orm";
import { type Db, guard, isConflict, later, statement } from "../db/db.ts";
import { keySteps } from "../db/keys.ts";
import { inScope, scopeSlots } from "../db/scope.ts";
import type { Conversation } from "../db/tables.ts";
import { AppError, notFound } from "./errors.ts";
import { type Given, newId } from "./id.ts";
import type { Actor } from "./identity.ts";
import { beginnerOf, earlierMade, type RequestKey, takenKey } from "./keys.ts";

const insertRow = statement(
  ["conversationId", "userId", "clientId", "title", "agentId", "isLive", "control", "metadata", "previousId", "now"],
  (db, $) =>
    db
      .insert(db.tables.conversations)
      .values({
        id: $.conversationId,
        userId: $.userId,
        clientId: $.clientId,
        title: $.title,
        agentId: $.agentId,
        isLive: $.isLive,
        control: $.control,
        metadata: $.metadata,
        previousId: $.previousId,
        ...db.born,
        createdAt: $.now,
        updatedAt: $.now,
      })
      .returning(),
);

/** What a conversation is born with that people are in, too. */
export type LiveStart = Pick<Conversation, "isLive" | "control" | "agentId" | "metadata" | "previousId">;

/** An empty conversation of the actor's user, as the database fills it up. */
function emptyConversation(
  actor: Actor,
  born: Db["born"],
  { id = newId(), clientId = null, title, now, live }: Omit<NewConversation<unknown>, "key" | "respond" | "read">,
): Conversation {
  return {
    id,
    userId: actor.userId,
    agentId: null,
    clientId,
    title,
    isLive: false,
    status: "active",
    control: "assistant",
    systemPrompt: null,
    metadata: null,
    rev: 0,
    messageCount: 0,
    lastMessage: null,
    lastSeq: 0,
    openTurns: 0,
    createdAt: now,
    updatedAt: now,
    endedAt: null,
    previousId: null,
    queuedAt: null,
    ...born,
    ...live,
  };
}

type NewConversation<R> = Given & {
  /** What its client calls it. */
  clientId?: string | null;
  title: string | null;
  live?: LiveStart;
  /** Milliseconds. */
  now: number;
  key: RequestKey | null;
  /** What the request is answered with, also when the same key asks again. */
  respond(made: Conversation): R;
};

/**
 * Makes an empty conversation of the actor's user. Throws 422 where the key was another request's, 404 where what it made
 * is deleted, `Conflict` where a given id is taken.
 */
export async function createConversation<R>(
  db: Db,
  actor: Actor,
  { key, respond, also = [], ...start }: NewConversation<R>,
): Promise<R> {
  const { now } = start;
  const made = emptyConversation(actor, db.born, start);
  const taken = key && takenKey(actor, key, now, { id: made.id, at: now });
  try {
    await db.batch([
      guard(insertRow, { ...made, conversationId: made.id, now }),
      ...keySteps(taken, { turnId: null, now }),
      ...also,
    ]);
    return respond(made);
  } catch (error) {
    const earlier = key && isConflict(error) && (await earlierMade(db, actor, { key, now }));
    if (!earlier) throw error;
    await getConversation(db, beginnerOf(actor), earlier.id);
    return respond(emptyConversation(actor, db.born, { ...start, id: earlier.id, now: earlier.at }));
  }
}

const selectRow = statement([...scopeSlots, "id"], (db, $) => {
  const t = db.tables.conversations;
  return db
    .select()
    .from(t)
    .where(and(eq(t.id, $.id), inScope(db, $)));
});

/** Throws 404 where it is unknown, deleted or not the actor's to see. */
export async function getConversation(db: Db, actor: Actor, id: string): Promise<Conversation> {
  const [row] = await db.all(selectRow, { ...actor, id });
  if (!row) throw notFound("conversation");
  return row;
}

/** Where a page of conversations begins: right after this one, in the order of the list. */
export type ConversationCursor = { updatedAt: number; id: string };

/** What lists show of a conversation. */
export type ListedConversation = Pick<
  Conversation,
  "id" | "userId" | "title" | "lastMessage" | "messageCount" | "createdAt" | "updatedAt"
>;

export type ConversationPage = { rows: ListedConversation[]; next: ConversationCursor | null };

/** Before every other. */
export const NEWEST: ConversationCursor = {
  updatedAt: Number.MAX_SAFE_INTEGER,
  id: "ffffffff-ffff-ffff-ffff-ffffffffffff",
};

const selectPage = statement([...scopeSlots, "userId", "updatedAt", "id", "limit", "offset"], (db, $) => {
  const t = db.tables.conversations;
  const { id, userId, title, lastMessage, messageCount, createdAt, updatedAt } = t;
  return db
    .select({ id, userId, title, lastMessage, messageCount, createdAt, updatedAt })
    .from(t)
    .where(and(eq(t.userId, $.userId), inScope(db, $), sql`(${t.updatedAt}, ${t.id}) < (${$.updatedAt}, ${$.id})`))
    .orderBy(desc(t.updatedAt), desc(t.id))
    .limit($.limit)
    .offset($.offset);
});

/** A page of one user's conversations, newest `updated_at` first. */
export async function listConversations(
  db: Db,
  actor: Actor,
  page: { limit: number; offset?: number; after?: ConversationCursor | undefined },
): Promise<ConversationPage> {
  const { limit, offset = 0, after = NEWEST } = page;
  const found = await db.all(selectPage, { ...actor, ...after, limit: limit + 1, offset });
  const rows = found.slice(0, limit);
  const last = found.length > limit ? rows.at(-1) : undefined;
  return { rows, next: last ? { updatedAt: last.updatedAt, id: last.id } : null };
}

const countRows = statement([...scopeSlots, "userId"], (db, $) => {
  const t = db.tables.conversations;
  return db
    .select({ total: count() })
    .from(t)
    .where(and(eq(t.userId, $.userId), inScope(db, $)));
});

// The same without a look at each row, for whoever sees all of that user's, live or not.
const countByOwner = statement([...scopeSlots, "userId"], (db, $) => {
  const t = db.tables.conversations;
  return db
    .select({ total: count() })
    .from(t)
    .where(and(eq(t.userId, $.userId), inScope(db, $, { of: $.userId })));
});

/** How many conversations of the actor's user there are, as far as the actor may see them. */
export async function countConversations(db: Db, actor: Actor): Promise<number> {
  const seesAll = actor.sees !== "live" || actor.userId === actor.self;
  const [row] = await db.all(seesAll ? countByOwner : countRows, actor);
  return row?.total ?? 0;
}

const renameRow = statement([...scopeSlots, "conversationId", "title", "now"], (db, $) => {
  const t = db.tables.conversations;
  return db
    .update(t)
    .set({ title: $.title, updatedAt: later(t.updatedAt, $.now), rev: sql`${t.rev} + 1` })
    .where(and(eq(t.id, $.conversationId), inScope(db, $), ne(t.status, "ended")))
    .returning();
});

/** Throws 404 as `getConversation` does, 409 where it has ended. */
export async function renameConversation(
  db: Db,
  actor: Actor,
  { id, title, now }: { id: string; title: string; now: number },
): Promise<Conversation> {
  const rows = await db.batch([guard(renameRow, { ...actor, conversationId: id, title, now })]).catch(async (error) => {
    if (!isConflict(error)) throw error;
    await getConversation(db, actor, id);
    throw new AppError("session_ended", "The conversation has ended; it takes no more changes.");
  });
  const [[row]] = rows;
  if (!row) throw notFound("conversation");
  return row;
}
