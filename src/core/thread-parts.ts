import { type AnyColumn, and, asc, desc, eq, gt, isNull, type SQL, sql } from "drizzle-orm";
import { type Db, type Source, statement, type Values } from "../db/db.ts";
import { ahead, isRead } from "../db/extension-room.ts";
import { firstPart, inPart, mayGoOn } from "../db/parts.ts";
import { inScope, type Scope, scopeSlots } from "../db/scope.ts";
import type { Actor } from "./identity.ts";
import type { Span } from "./messages.ts";
import type { Post } from "./thread.ts";

/** A session's messages as its people see them, with what hangs on them, in parts: what is held is bounded in bytes. */

/** The end of every thread. */
const NEWEST = 2 ** 31 - 1;

const standing = (db: Source): SQL | undefined =>
  and(isNull(db.tables.messages.deletedAt), isNull(db.tables.messages.supersededAt));

type Slots<K extends string> = Readonly<Record<K, never>>;

type Chosen<K extends string> = {
  slots: readonly K[];
  where(db: Source, slots: Slots<K>): SQL | undefined;
  order(place: { seq: AnyColumn; rev: AnyColumn }, slots: Slots<K>): SQL[];
  /** Messages of a part, at most. */
  rows?: number;
};

/** Two statements that choose the same messages: one reads the messages, the other what hangs on them. */
function partsOf<const K extends string>({ slots, where, order, rows }: Chosen<K>) {
  const partOf = (db: Source, $: Slots<K>) =>
    firstPart(db, { where: where(db, $), order: (place) => order(place, $), hanging: true, ...(rows && { rows }) });
  const messages = statement(slots, (db, $) => {
    const m = db.tables.messages;
    const part = partOf(db, $);
    const { ahead, bytes, hung, nextSeq, nextRev } = part;
    return db
      .select({ message: m, ahead, bytes, hung, nextSeq, nextRev })
      .from(part)
      .innerJoin(m, eq(m.id, part.id))
      .where(inPart(part))
      .orderBy(...order(m, $));
  });
  const extensions = statement(slots, (db, $) => {
    const e = db.tables.messageExtensions;
    const part = partOf(db, $);
    const found = db
      .select(ahead(db))
      .from(part)
      .innerJoin(e, eq(e.messageId, part.id))
      .where(inPart(part))
      .as("found_on");
    return db
      .select({ extension: e })
      .from(found)
      .innerJoin(e, eq(e.id, found.id))
      .where(isRead(found))
      .orderBy(asc(e.createdAt), asc(e.id));
  });
  return { rows, messages, extensions };
}

type Part = {
  posts: Post[];
  /** The place of the message that follows each of them; null behind the last one that was looked at. */
  following: ({ seq: number; rev: number } | null)[];
  goesOn: boolean;
};

async function readPart<K extends string>(
  db: Db,
  { rows: most, messages, extensions }: ReturnType<typeof partsOf<K>>,
  values: Values<K>,
): Promise<Part> {
  const rows = await db.all(messages, values);
  const hanging = rows.some(({ hung }) => hung > 0) ? await db.all(extensions, values) : [];
  const byMessage = Map.groupBy(hanging, ({ extension }) => extension.messageId);
  return {
    posts: rows.map(({ message }) => ({
      ...message,
      extensions: (byMessage.get(message.id) ?? []).map(({ extension }) => extension),
    })),
    following: rows.map(({ nextSeq: seq, nextRev: rev }) => (seq === null || rev === null ? null : { seq, rev })),
    goesOn: mayGoOn(rows, most),
  };
}

const selectOldest = statement([...scopeSlots, "conversationId", "after", "limit", "offset"], (db, $) => {
  const { messages: m, conversations: c } = db.tables;
  return db
    .select({ seq: m.seq })
    .from(m)
    .innerJoin(c, eq(c.id, m.conversationId))
    .where(and(eq(m.conversationId, $.conversationId), inScope(db, $), gt(m.seq, $.after), standing(db)))
    .orderBy(asc(m.seq))
    .limit($.limit)
    .offset($.offset);
});

const selectNewest = statement([...scopeSlots, "conversationId", "limit"], (db, $) => {
  const { messages: m, conversations: c } = db.tables;
  return db
    .select({ seq: m.seq, size: m.size })
    .from(m)
    .innerJoin(c, eq(c.id, m.conversationId))
    .where(and(eq(m.conversationId, $.conversationId), inScope(db, $), standing(db)))
    .orderBy(desc(m.seq))
    .limit($.limit);
});

type Page = { conversationId: string; limit: number; offset?: number; after?: number | undefined };

/** Where a page of a session's messages stands, from its beginning, and the `after` that leads to newer ones. */
export async function findPosts(
  db: Db,
  actor: Actor,
  { conversationId, limit, offset = 0, after = -1 }: Page,
): Promise<{ span: Span | null; next: number | null }> {
  const found = await db.all(selectOldest, { ...actor, conversationId, after, limit: limit + 1, offset });
  const oldest = found[0];
  const newest = found.slice(0, limit).at(-1);
  if (!oldest || !newest) return { span: null, next: null };
  const span = { conversationId, from: oldest.seq, to: newest.seq };
  return { span, next: found.length > limit ? newest.seq : null };
}

/** Where the newest messages of a session stand, and how many bytes of text they have. */
export async function findNewestPosts(
  db: Db,
  actor: Actor,
  { conversationId, limit }: Pick<Page, "conversationId" | "limit">,
): Promise<{ span: Span | null; size: number }> {
  const found = await db.all(selectNewest, { ...actor, conversationId, limit });
  const newest = found[0];
  const oldest = found.at(-1);
  if (!newest || !oldest) return { span: null, size: 0 };
  const size = found.reduce((sum, one) => sum + one.size, 0);
  return { span: { conversationId, from: oldest.seq, to: newest.seq }, size };
}

/** Where all messages of a session stand. */
export const wholeThread = (conversationId: string): Span => ({ conversationId, from: 0, to: NEWEST });

const betweenSlots = [...scopeSlots, "conversationId", "from", "to"] as const;

const between = (which: (db: Source) => SQL | undefined) =>
  partsOf({
    slots: betweenSlots,
    where(db, $) {
      const m = db.tables.messages;
      const place = sql`${m.seq} between cast(${$.from} as integer) and cast(${$.to} as integer)`;
      return and(eq(m.conversationId, $.conversationId), inScope(db, $), place, which(db));
    },
    order: ({ seq }) => [asc(seq)],
  });

const standingBetween = between(standing);
const storedBetween = between(() => undefined);

/** A session's messages from one place to another, oldest first, in parts: the next is read when it is asked for. */
export const readPosts = (db: Db, actor: Actor, span: Span | null): AsyncGenerator<Post[]> =>
  partByPart(db, actor, { span, which: standingBetween });

/** The same with deleted and superseded messages among them. */
export const readStoredPosts = (db: Db, actor: Actor, span: Span): AsyncGenerator<Post[]> =>
  partByPart(db, actor, { span, which: storedBetween });

async function* partByPart(
  db: Db,
  actor: Actor,
  { span, which }: { span: Span | null; which: typeof standingBetween },
): AsyncGenerator<Post[]> {
  let from = span?.from;
  while (span && from !== undefined) {
    const { posts, goesOn } = await readPart(db, which, { ...actor, ...span, from });
    const last = goesOn ? posts.at(-1)?.seq : undefined;
    yield posts;
    from = last === undefined ? undefined : last + 1;
  }
}

const changed = partsOf({
  slots: [...scopeSlots, "conversationId", "rev", "seq", "upTo"],
  where(db, $) {
    const m = db.tables.messages;
    return and(
      eq(m.conversationId, $.conversationId),
      inScope(db, $),
      sql`(${m.rev}, ${m.seq}) > (cast(${$.rev} as integer), cast(${$.seq} as integer))`,
      sql`${m.rev} <= cast(${$.upTo} as integer)`,
    );
  },
  order: ({ rev, seq }) => [asc(rev), asc(seq)],
});

type Changes = { conversationId: string; rev: number; seq: number; upTo: number };

/**
 * The first part of the messages whose last change comes after the place `(rev, seq)` and not after `upTo`, in the order of
 * their changes, deleted ones among them; and whether another part may follow.
 */
export const changedPosts = (db: Db, scope: Scope, changes: Changes): Promise<Pick<Part, "posts" | "goesOn">> =>
  readPart(db, changed, { ...scope, ...changes });

/** Messages that are shown at once, at most: the last row of a part has none that follows it. */
const SHOWN_ROWS = 51;

const toShow = partsOf({
  slots: [...scopeSlots, "conversationId", "after"],
  where(db, $) {
    const m = db.tables.messages;
    return and(eq(m.conversationId, $.conversationId), inScope(db, $), gt(m.rev, $.after));
  },
  order: ({ seq, rev }, $) => [
    sql`case when ${seq} > cast(${$.after} as integer) then ${seq} else ${rev} end`,
    asc(seq),
  ],
  rows: SHOWN_ROWS,
});

/** When a message is the turn of somebody who knows a thread up to a revision: a new one by its place, else by its change. */
const dueAt = ({ seq, rev }: Pick<Post, "seq" | "rev">, after: number) => (seq > after ? seq : rev);

/** A message to be shown, and the revision up to which all is known once it is; null where that is all there is. */
export type ToShow = { post: Post; upTo: number | null };

/**
 * A part of what somebody who knows a thread up to a revision is to be shown next, deleted messages too: new ones in their
 * order in the thread, whatever was changed in them later, and among them, by revision, the changes to those that were there.
 */
export async function postsToShow(
  db: Db,
  scope: Scope,
  { conversationId, after }: { conversationId: string; after: number },
): Promise<ToShow[]> {
  const { posts, following } = await readPart(db, toShow, { ...scope, conversationId, after });
  return posts.slice(0, SHOWN_ROWS - 1).map((post, i) => {
    const next = following[i];
    return { post, upTo: next ? dueAt(next, after) - 1 : null };
  });
}
