import { and, asc, desc, eq, gt, isNull, type SQL, sql } from "drizzle-orm";
import { type Db, type Source, statement } from "../db/db.ts";
import { inScope, type Scope, scopeSlots } from "../db/scope.ts";
import type { Extension, Message } from "../db/tables.ts";
import { notFound } from "./errors.ts";
import type { Actor } from "./identity.ts";

/** A session's messages as its people see them: notes, answers in the making and failed ones too. */

/** A message with what hangs on it: attachments, reactions, earlier texts and whatever else, oldest first. */
export type Post = Message & { extensions: Extension[] };

/** The end of every thread. */
const NEWEST = 2 ** 31 - 1;

const standing = (db: Source): SQL | undefined =>
  and(isNull(db.tables.messages.deletedAt), isNull(db.tables.messages.supersededAt));

const inThread = [...scopeSlots, "conversationId", "after", "before", "limit", "offset"] as const;

const selectOldest = statement(inThread, (db, $) => {
  const { messages: m, conversations: c } = db.tables;
  return db
    .select({ message: m })
    .from(m)
    .innerJoin(c, eq(c.id, m.conversationId))
    .where(and(eq(m.conversationId, $.conversationId), inScope(db, $), gt(m.seq, $.after), standing(db)))
    .orderBy(asc(m.seq))
    .limit($.limit)
    .offset($.offset);
});

const selectNewest = statement(inThread, (db, $) => {
  const { messages: m, conversations: c } = db.tables;
  return db
    .select({ message: m })
    .from(m)
    .innerJoin(c, eq(c.id, m.conversationId))
    .where(and(eq(m.conversationId, $.conversationId), inScope(db, $), sql`${m.seq} < ${$.before}`, standing(db)))
    .orderBy(desc(m.seq))
    .limit($.limit)
    .offset($.offset);
});

type Part = { conversationId: string; limit: number; offset?: number; after?: number | undefined };

/** A page of a session's messages from its beginning, oldest first: one more than `limit` where there are more. */
export async function listPosts(db: Db, actor: Actor, { limit, offset = 0, after = -1, ...of }: Part): Promise<Post[]> {
  const rows = await db.all(selectOldest, { ...actor, ...of, after, before: NEWEST, limit: limit + 1, offset });
  return withExtensions(
    db,
    actor,
    rows.map((row) => row.message),
  );
}

/** The newest messages of a session, oldest first. */
export async function newestPosts(db: Db, actor: Actor, { conversationId, limit }: Part): Promise<Post[]> {
  const part = { conversationId, after: -1, before: NEWEST, limit, offset: 0 };
  const rows = await db.all(selectNewest, { ...actor, ...part });
  return withExtensions(db, actor, rows.map((row) => row.message).reverse());
}

const selectPost = statement([...scopeSlots, "id"], (db, $) => {
  const { messages: m, conversations: c } = db.tables;
  return db
    .select({ message: m })
    .from(m)
    .innerJoin(c, eq(c.id, m.conversationId))
    .where(and(eq(m.id, $.id), inScope(db, $)));
});

/** Whether there is such a message among the actor's, deleted or not. */
export const isStored = async (db: Db, actor: Actor, id: string): Promise<boolean> =>
  (await db.all(selectPost, { ...actor, id })).length > 0;

/** A message, deleted or not. Throws 404 where it is unknown or not the actor's to see. */
export async function findPost(db: Db, actor: Actor, id: string): Promise<Post> {
  const [row] = await db.all(selectPost, { ...actor, id });
  const [post] = row ? await withExtensions(db, actor, [row.message]) : [];
  if (!post) throw notFound("message");
  return post;
}

/** Throws 404 as `findPost` does, and where it is deleted and the actor no admin. */
export async function getPost(db: Db, actor: Actor, id: string): Promise<Post> {
  const post = await findPost(db, actor, id);
  if (post.deletedAt !== null && actor.sees !== "all") throw notFound("message");
  return post;
}

/** A message that can be changed. Throws 404 as `findPost` does, and where it is deleted. */
export async function getLivingPost(db: Db, actor: Actor, id: string): Promise<Post> {
  const post = await findPost(db, actor, id);
  if (post.deletedAt !== null) throw notFound("message");
  return post;
}

const selectChanged = statement([...scopeSlots, "conversationId", "rev", "seq", "upTo", "limit"], (db, $) => {
  const { messages: m, conversations: c } = db.tables;
  return db
    .select({ message: m })
    .from(m)
    .innerJoin(c, eq(c.id, m.conversationId))
    .where(
      and(
        eq(m.conversationId, $.conversationId),
        inScope(db, $),
        sql`(${m.rev}, ${m.seq}) > (cast(${$.rev} as integer), cast(${$.seq} as integer))`,
        sql`${m.rev} <= cast(${$.upTo} as integer)`,
      ),
    )
    .orderBy(asc(m.rev), asc(m.seq))
    .limit($.limit);
});

type Changes = { conversationId: string; rev: number; seq: number; upTo: number; limit: number };

/**
 * Messages whose last change comes after the place `(rev, seq)` and not after `upTo`, in the order of their changes,
 * deleted ones among them.
 */
export async function changedPosts(db: Db, scope: Scope, changes: Changes): Promise<Post[]> {
  const rows = await db.all(selectChanged, { ...scope, ...changes });
  return withExtensions(
    db,
    scope,
    rows.map((row) => row.message),
  );
}

const selectToShow = statement([...scopeSlots, "conversationId", "after", "limit"], (db, $) => {
  const { messages: m, conversations: c } = db.tables;
  return db
    .select({ message: m })
    .from(m)
    .innerJoin(c, eq(c.id, m.conversationId))
    .where(and(eq(m.conversationId, $.conversationId), inScope(db, $), gt(m.rev, $.after)))
    .orderBy(sql`case when ${m.seq} > cast(${$.after} as integer) then ${m.seq} else ${m.rev} end`, asc(m.seq))
    .limit($.limit);
});

/** When a message is the turn of somebody who knows a thread up to a revision: a new one by its place, else by its change. */
const dueAt = ({ seq, rev }: Message, after: number) => (seq > after ? seq : rev);

/** A message to be shown, and the revision up to which all is known once it is; null where that is all there is. */
export type ToShow = { post: Post; upTo: number | null };

/**
 * What somebody who knows a thread up to a revision is to be shown next, deleted messages too: new ones in their order in the
 * thread, whatever was changed in them later, and among them, by revision, the changes to those that were there.
 */
export async function postsToShow(
  db: Db,
  scope: Scope,
  { conversationId, after, limit }: { conversationId: string; after: number; limit: number },
): Promise<ToShow[]> {
  const rows = await db.all(selectToShow, { ...scope, conversationId, after, limit: limit + 1 });
  const posts = await withExtensions(
    db,
    scope,
    rows.slice(0, limit).map((row) => row.message),
  );
  return posts.map((post, i) => {
    const next = rows[i + 1]?.message;
    return { post, upTo: next ? dueAt(next, after) - 1 : null };
  });
}

const selectExtensions = statement([...scopeSlots, "conversationId", "from", "to"], (db, $) => {
  const { messageExtensions: e, messages: m, conversations: c } = db.tables;
  return db
    .select({ extension: e })
    .from(e)
    .innerJoin(m, eq(m.id, e.messageId))
    .innerJoin(c, eq(c.id, m.conversationId))
    .where(
      and(
        eq(m.conversationId, $.conversationId),
        inScope(db, $),
        sql`${m.seq} between cast(${$.from} as integer) and cast(${$.to} as integer)`,
      ),
    )
    .orderBy(asc(e.createdAt), asc(e.id));
});

/** Of messages of one conversation. */
export async function withExtensions(db: Db, scope: Scope, messages: readonly Message[]): Promise<Post[]> {
  const [first] = messages;
  if (!first) return [];
  const seqs = messages.map(({ seq }) => seq);
  const { conversationId } = first;
  const rows = await db.all(selectExtensions, {
    ...scope,
    conversationId,
    from: Math.min(...seqs),
    to: Math.max(...seqs),
  });
  const byMessage = Map.groupBy(rows, (row) => row.extension.messageId);
  return messages.map((message) => ({
    ...message,
    extensions: (byMessage.get(message.id) ?? []).map((row) => row.extension),
  }));
}
