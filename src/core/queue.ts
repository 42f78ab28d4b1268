import { and, asc, desc, eq, sql } from "drizzle-orm";
import { type Db, statement } from "../db/db.ts";
import { inScope, scopeSlots } from "../db/scope.ts";
import type { Conversation } from "../db/tables.ts";
import { type DeskDeps, type Desks, MOST_AT_ONCE } from "./desks.ts";
import type { Actor } from "./identity.ts";
import { sleep } from "./time.ts";

/** What agents have before them: sessions that wait, and those that are theirs. */

const selectWaiting = statement([...scopeSlots, "limit"], (db, $) => {
  const c = db.tables.conversations;
  return db
    .select()
    .from(c)
    .where(and(sql`${c.control} = 'queue' and ${c.status} <> 'ended'`, inScope(db, $)))
    .orderBy(asc(c.queuedAt), asc(c.id))
    .limit($.limit);
});

const selectAssigned = statement([...scopeSlots, "agentId", "limit"], (db, $) => {
  const c = db.tables.conversations;
  return db
    .select()
    .from(c)
    .where(and(eq(c.agentId, $.agentId), sql`${c.status} <> 'ended' and ${c.control} = 'agent'`, inScope(db, $)))
    .orderBy(desc(c.updatedAt), desc(c.id))
    .limit($.limit);
});

/** Sessions that wait for an agent, the one that has waited longest first. */
export const listWaiting = (db: Db, actor: Actor, limit: number): Promise<Conversation[]> =>
  db.all(selectWaiting, { ...actor, limit });

/** Sessions that an agent is in control of, the last touched first. */
export const listAssigned = (
  db: Db,
  actor: Actor,
  { agentId, limit }: { agentId: string; limit: number },
): Promise<Conversation[]> => db.all(selectAssigned, { ...actor, agentId, limit });

/** Changed sessions that wait for a reader at most; who takes nothing for so long begins anew. */
const MOST_PENDING = 1_000;
/** What could not be read is tried again after so long, in milliseconds. */
const AGAIN_MS = 800;

type Reading = Pick<DeskDeps, "db" | "log"> & { readonly desks: Desks };
type Watched = { agentId: string; signal: AbortSignal };

/**
 * Tells an agent of every session that waits or is its own: first how all of them stand, then each as it changes, also
 * that it waits no more, until `signal` aborts. What could not be read is told when it can be. Ends by itself for a reader
 * that takes nothing while too much changes.
 */
export async function* watchQueue(
  reading: Reading,
  actor: Actor,
  { agentId, signal }: Watched,
): AsyncGenerator<Conversation[]> {
  const inbox = new Map<string, Conversation>();
  let isFull = false;
  let filled = Promise.withResolvers<void>();
  const wake = () => filled.resolve();
  const hear = (session: Conversation) => {
    isFull ||= inbox.size >= MOST_PENDING;
    if (!isFull) inbox.set(session.id, session);
    wake();
  };
  const { begin, leave } = reading.desks.join({ scope: actor, agentId, hear });
  signal.addEventListener("abort", wake, { once: true });
  try {
    const first = await readAll(reading, actor, { agentId, signal });
    begin(first);
    if (first.length > 0) yield first;
    const revs = new Map(first.map(({ id, rev }) => [id, rev]));
    while (!signal.aborted && !isFull) {
      filled = Promise.withResolvers();
      const changed = [...inbox.values()].filter(({ id, rev }) => rev > (revs.get(id) ?? -1));
      inbox.clear();
      if (changed.length > 0) yield changed;
      else await filled.promise;
    }
  } finally {
    leave();
  }
}

/** How all of them stand: tried until it can be read, or `signal` aborts. */
async function readAll({ db, log }: Reading, actor: Actor, { agentId, signal }: Watched): Promise<Conversation[]> {
  while (!signal.aborted) {
    try {
      const limit = MOST_AT_ONCE;
      return newestOf(
        (await Promise.all([listWaiting(db, actor, limit), listAssigned(db, actor, { agentId, limit })])).flat(),
      );
    } catch (error) {
      log.error({ err: error }, "the queue could not be looked at");
    }
    await sleep(AGAIN_MS, signal);
  }
  return [];
}

/** One that changed hands between the two readings may stand in both. */
function newestOf(sessions: readonly Conversation[]): Conversation[] {
  const newest = new Map<string, Conversation>();
  for (const session of sessions) {
    if ((newest.get(session.id)?.rev ?? -1) < session.rev) newest.set(session.id, session);
  }
  return [...newest.values()];
}
