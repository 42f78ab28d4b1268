import type { Db } from "../db/db.ts";
import { type Changed, changesOf, type Passing, type Told, type Watched } from "./feed.ts";
import type { Actor } from "./identity.ts";
import { findSession } from "./sessions.ts";
import type { Watch } from "./watch.ts";

type Reading = { readonly watch: Watch; readonly db: Db };
type From = { id: string; after: number; signal: AbortSignal };

/**
 * Tells an actor of a session: all that changed after a revision, then what changes from now on, without a gap and nothing
 * twice, until `signal` aborts or the actor's session is gone. A slow reader is told the state of things when it comes to
 * it.
 */
export async function* watchSession(
  { watch, db }: Reading,
  actor: Actor,
  { id, after, signal }: From,
): AsyncGenerator<(Changed | Passing)[]> {
  const session = await findSession(db, actor, id);
  if (!session) return;
  const inbox = createInbox();
  signal.addEventListener("abort", inbox.wake, { once: true });
  const { at, leave } = watch.join(session, inbox.put);
  // A revision that is still to come was given out by a database that was set back since: the whole state.
  const reader = createReader(after > session.rev ? 0 : after);
  try {
    while (!signal.aborted && !inbox.isOver()) {
      if (inbox.isBehind()) {
        const running = runningSoFar(at);
        inbox.catchUp();
        for await (const missed of missedBy(db, actor, { id, after: reader.told(), running }))
          yield reader.sort([missed]);
      }
      const fresh = reader.sort(inbox.take());
      if (fresh.length > 0) yield fresh;
      else await inbox.filled();
    }
  } finally {
    leave();
  }
}

type Missed = { id: string; after: number; running: Passing | null };

async function* missedBy(db: Db, actor: Actor, { id, after, running }: Missed): AsyncGenerator<Told> {
  const session = await findSession(db, actor, id);
  if (!session) return;
  yield* changesOf(db, actor, { session, after });
  if (running) yield running;
}

/** Finished answers that a reader keeps in mind, since the last of their deltas may still be on the way to it. */
const MOST_FINISHED = 50;

/** What one reader has been told. */
function createReader(after: number) {
  let told = after;
  let finished: string[] = [];
  function isNews(one: Told): one is Changed | Passing {
    if (one.type === "gone") return false;
    if (one.type === "delta") return !finished.includes(one.messageId);
    if (one.type === "typing") return true;
    if (one.rev <= told) return false;
    if (one.type === "message" && one.message.status !== "in_progress") {
      finished = [...finished.slice(1 - MOST_FINISHED), one.message.id];
    }
    if (one.last) told = one.rev;
    return true;
  }
  return { told: () => told, sort: (news: readonly Told[]) => news.filter(isNews) };
}

/** The answer that is being made, from its start. */
function runningSoFar({ running }: Watched): Passing | null {
  return running && running.text !== "" ? { type: "delta", ...running, offset: 0 } : null;
}

/** What may wait for a reader, in events; past that it is read anew what it has missed. */
const MOST_WAITING = 500;

/** What waits for a reader, who begins behind: with what has changed before it came. */
function createInbox() {
  let waiting: Told[] = [];
  let behind = true;
  let over = false;
  let next = Promise.withResolvers<void>();
  return {
    put(told: Told) {
      if (told.type === "gone") over = true;
      else if (waiting.length < MOST_WAITING) waiting.push(told);
      else behind = true;
      next.resolve();
    },
    wake: () => next.resolve(),
    isBehind: () => behind,
    isOver: () => over,
    /** Whatever comes from now on is kept again. */
    catchUp() {
      behind = false;
      waiting = [];
    },
    take() {
      const taken = waiting;
      waiting = [];
      next = Promise.withResolvers();
      return taken;
    },
    /** Resolves once something has come since the last time that it was emptied. */
    filled: () => (behind ? Promise.resolve() : next.promise),
  };
}
