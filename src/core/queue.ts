import { and, asc, desc, eq, sql } from "drizzle-orm";
import { type Db, statement } from "../db/db.ts";
import { inScope, scopeSlots } from "../db/scope.ts";
import type { Conversation } from "../db/tables.ts";
import type { Actor } from "./identity.ts";
import type { Bus } from "./notes.ts";
import { findSession } from "./sessions.ts";
import { sleep } from "./time.ts";

/** What agents have before them: sessions that wait, and those that are theirs. */

const selectWaiting = statement([...scopeSlots, "limit"], (db, $) => {
  const c = db.tables.conversations;
  return db
    .select()
    .from(c)
    .where(and(sql`control = 'queue'`, sql`${c.status} <> 'ended'`, inScope(db, $)))
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

/** Sessions of each kind that an agent is told of at once. */
const MOST = 200;
/** Changes that come together are told together, in milliseconds. */
const TOGETHER_MS = 50;
/** Notes may be lost: it is looked at so often all the same, in milliseconds. */
const POLL_MS = 800;

type Reading = {
  readonly db: Db;
  readonly bus: Bus;
  readonly log: { error(fields: object, message: string): void };
};

/**
 * Tells an agent of every session that waits or is its own: first how all of them stand, then each as it changes, also
 * that it waits no more, until `signal` aborts. What could not be read is told when it can be.
 */
export async function* watchQueue(
  { db, bus, log }: Reading,
  actor: Actor,
  { agentId, signal }: { agentId: string; signal: AbortSignal },
): AsyncGenerator<Conversation[]> {
  const told = new Map<string, number>();
  let next = Promise.withResolvers<void>();
  const wake = () => next.resolve();
  const stopListening = bus.listen(({ type }) => type === "changed" && wake());
  signal.addEventListener("abort", wake, { once: true });
  const failed = (error: unknown) => {
    log.error({ err: error }, "the queue could not be looked at");
    return [];
  };
  try {
    while (!signal.aborted) {
      next = Promise.withResolvers();
      const changed = await changesIn(db, actor, { agentId, told }).catch(failed);
      if (changed.length > 0) yield changed;
      const timer = setTimeout(wake, POLL_MS);
      if (!signal.aborted) await next.promise;
      clearTimeout(timer);
      await sleep(TOGETHER_MS, signal);
    }
  } finally {
    stopListening();
  }
}

async function changesIn(
  db: Db,
  actor: Actor,
  { agentId, told }: { agentId: string; told: Map<string, number> },
): Promise<Conversation[]> {
  const [waiting, assigned] = await Promise.all([
    listWaiting(db, actor, MOST),
    listAssigned(db, actor, { agentId, limit: MOST }),
  ]);
  const now = newestOf([...waiting, ...assigned]);
  const changed = now.filter(({ id, rev }) => told.get(id) !== rev);
  const here = new Set(now.map(({ id }) => id));
  const gone = [...told.keys()].filter((id) => !here.has(id));
  const left = await Promise.all(gone.map((id) => findSession(db, actor, id)));
  for (const id of gone) told.delete(id);
  for (const { id, rev } of now) told.set(id, rev);
  return [...changed, ...left.filter((session) => session !== undefined)];
}

/** One that changed hands between the two readings may stand in both. */
function newestOf(sessions: readonly Conversation[]): Conversation[] {
  const newest = new Map<string, Conversation>();
  for (const session of sessions) {
    if ((newest.get(session.id)?.rev ?? -1) < session.rev) newest.set(session.id, session);
  }
  return [...newest.values()];
}
