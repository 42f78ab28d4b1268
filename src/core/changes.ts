import { and, eq } from "drizzle-orm";
import { type Db, statement } from "../db/db.ts";
import { inScope, type Scope, scopeSlots } from "../db/scope.ts";
import type { Conversation } from "../db/tables.ts";
import type { Post } from "./thread.ts";
import { changedPosts } from "./thread-parts.ts";

/** What has changed in a session since a revision. */

/** One revision: the rows whose last change it is, as they stand, and the session itself where it is the present one. */
export type Revision = {
  readonly type: "revision";
  readonly rev: number;
  readonly session: Conversation | null;
  readonly messages: readonly Post[];
};

/**
 * For what the process reads once and tells to many: who may see which session has been looked at before they watch it,
 * and the operator's own webhook may see all. No surface may use it.
 */
export const EVERYBODY: Scope = { self: "", sees: "all", owner: null };

const selectSession = statement([...scopeSlots, "id"], (db, $) => {
  const c = db.tables.conversations;
  return db
    .select()
    .from(c)
    .where(and(eq(c.id, $.id), inScope(db, $)));
});

/** A session's row at its present revision; undefined where it is unknown, deleted or out of scope. */
export async function sessionRow(db: Db, scope: Scope, id: string): Promise<Conversation | undefined> {
  const [row] = await db.all(selectSession, { ...scope, id });
  return row;
}

/** Behind every message of a revision. */
const LAST_SEQ = 2 ** 31 - 1;

type Since = { session: Conversation; after: number };

/** What of a session changed after a revision, as it stands at the one that `session` has, in the order of the changes. */
export async function* changesOf(db: Db, scope: Scope, { session, after }: Since): AsyncGenerator<Revision> {
  if (session.rev <= after) return;
  let rev = after;
  let messages: Post[] = [];
  for await (const message of postsBetween(db, scope, { session, after })) {
    if (messages.length > 0 && message.rev !== rev) {
      yield { type: "revision", rev, session: null, messages };
      messages = [];
    }
    rev = message.rev;
    messages.push(message);
  }
  if (messages.length > 0 && rev !== session.rev) {
    yield { type: "revision", rev, session: null, messages };
    messages = [];
  }
  yield { type: "revision", rev: session.rev, session, messages };
}

async function* postsBetween(db: Db, scope: Scope, { session, after }: Since): AsyncGenerator<Post> {
  const { id: conversationId, rev: upTo } = session;
  let place: { rev: number; seq: number } | undefined = { rev: after, seq: LAST_SEQ };
  while (place) {
    const { rev, seq } = place;
    const { posts, goesOn } = await changedPosts(db, scope, { conversationId, rev, seq, upTo });
    const last = goesOn ? posts.at(-1) : undefined;
    place = last && { rev: last.rev, seq: last.seq };
    yield* posts;
  }
}
