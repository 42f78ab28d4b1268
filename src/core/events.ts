import { and, eq } from "drizzle-orm";
import { type Db, statement } from "../db/db.ts";
import { inScope, scopeSlots } from "../db/scope.ts";
import { changesOf, type Revision, sessionRow } from "./changes.ts";
import { asSoFar, type Passing, type Running, type Told } from "./feed.ts";
import type { Actor } from "./identity.ts";
import { createInbox, sizeOf, TOLD_TEXT } from "./inbox.ts";
import type { Watch } from "./watch.ts";

/** What a reader of a session is told at once. */
export type News = readonly (Revision | Passing)[];

type Reading = { readonly watch: Watch; readonly db: Db };
type From = { id: string; after: number; signal: AbortSignal };

/**
 * Tells an actor of a session: all that changed after a revision, then what changes from now on, without a gap and nothing
 * twice, until `signal` aborts or the actor's session is gone. Of the answer that is being made it tells the text so far,
 * then the rest as it comes. A slow reader is told the state of things when it comes to it.
 */
export async function* watchSession(
  { watch, db }: Reading,
  actor: Actor,
  { id, after, signal }: From,
): AsyncGenerator<News> {
  const session = await sessionRow(db, actor, id);
  if (!session) return;
  const inbox = createInbox();
  signal.addEventListener("abort", inbox.wake, { once: true });
  const { at, leave } = watch.join(session, inbox.put);
  // A revision that is still to come was given out by a database that was set back since: the whole state.
  const reader = createReader(after > session.rev ? 0 : after);
  try {
    while (!signal.aborted && !inbox.isOver()) {
      if (inbox.isBehind()) {
        const running = at.running && { ...at.running };
        inbox.catchUp(); // in the same breath: what is said from here on goes on from there
        yield* missedBy(db, actor, { id, reader, running });
      }
      const { news, isLost } = reader.sort(inbox.take());
      if (news.length > 0) yield news;
      if (isLost) inbox.fallBehind();
      else if (news.length === 0) await inbox.filled();
    }
  } finally {
    leave();
  }
}

type Missed = { id: string; reader: Reader; running: Running | null };

/** What has changed since a reader was last told, then the running answer so far. */
async function* missedBy(db: Db, actor: Actor, { id, reader, running }: Missed): AsyncGenerator<News> {
  const session = await sessionRow(db, actor, id);
  if (!session) return;
  let together: Revision[] = [];
  let size = 0;
  for await (const revision of changesOf(db, actor, { session, after: reader.told() })) {
    const seen = asSoFar(revision, running);
    together.push(seen);
    size += sizeOf(seen);
    if (together.length < MOST_TOGETHER && size < TOLD_TEXT) continue;
    const { news } = reader.sort(together);
    [together, size] = [[], 0];
    yield news;
  }
  if (together.length > 0) yield reader.sort(together).news;
  if (!running) return;
  const isRunning = await isBeingMade(db, actor, running.turn.answerId);
  const soFar = reader.begin(running, isRunning);
  if (soFar) yield [soFar];
}

/** Revisions of the past that are told at once. */
const MOST_TOGETHER = 100;

const selectStatus = statement([...scopeSlots, "id"], (db, $) => {
  const { messages: m, conversations: c } = db.tables;
  return db
    .select({ status: m.status })
    .from(m)
    .innerJoin(c, eq(c.id, m.conversationId))
    .where(and(eq(m.id, $.id), inScope(db, $)));
});

/** As the database has it: the reader may have been told by another instance that it is whole. */
async function isBeingMade(db: Db, actor: Actor, id: string): Promise<boolean> {
  const [row] = await db.all(selectStatus, { ...actor, id });
  return row?.status === "in_progress";
}

type Reader = ReturnType<typeof createReader>;

/** Whole answers that a reader keeps in mind, since the last that was said of them may still be on the way to it. */
const MOST_WHOLE = 50;

/** What one reader has been told, up to a revision. */
function createReader(after: number) {
  let told = after;
  /** The answers that it is told the growth of. */
  const growing = new Set<string>();
  let whole: string[] = [];

  function markWhole(id: string): void {
    growing.delete(id);
    whole = [...whole.slice(1 - MOST_WHOLE), id];
  }
  function note({ rev, messages }: Revision): void {
    told = rev;
    for (const { id, status, role } of messages) {
      if (status === "in_progress") growing.add(id);
      else if (role === "assistant") markWhole(id);
    }
  }
  function isNews(one: Revision | Passing): boolean {
    if (one.type === "delta") return growing.has(one.messageId);
    return one.type === "typing" || one.rev > told;
  }
  return {
    told: () => told,
    /** What of this it has not been told; `isLost` where it has no beginning of an answer that grows. */
    sort(all: readonly Told[]): { news: News; isLost: boolean } {
      const news: (Revision | Passing)[] = [];
      for (const one of all) {
        if (one.type === "gone") break;
        const isStrange = one.type === "delta" && !growing.has(one.messageId) && !whole.includes(one.messageId);
        if (isStrange) return { news, isLost: true };
        if (!isNews(one)) continue;
        if (one.type === "revision") note(one);
        news.push(one);
      }
      return { news, isLost: false };
    },
    /** The text so far of an answer that it is told the growth of from now on, if there is any. */
    begin({ turn, n, text }: Running, isRunning: boolean): Passing | null {
      const { answerId: messageId, turnId } = turn;
      if (!isRunning) markWhole(messageId);
      else growing.add(messageId);
      return isRunning && text !== "" ? { type: "delta", messageId, turnId, n, offset: 0, text } : null;
    },
  };
}
