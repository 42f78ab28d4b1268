import { and, desc, eq, getTableColumns, inArray, ne, sql } from "drizzle-orm";
import { type Db, guard, isConflict, type Source, type Step, statement, step } from "../db/db.ts";
import { inScope, scopeSlots } from "../db/scope.ts";
import { insertMessage, moveSessionRow } from "../db/session-writes.ts";
import type { Conversation, Metadata } from "../db/tables.ts";
import { stopOpenSteps } from "../db/turn-stop.ts";
import { sessionRow } from "./changes.ts";
import { type ConversationCursor, NEWEST } from "./conversations.ts";
import { AppError, invalid, notFound } from "./errors.ts";
import { newId } from "./id.ts";
import type { Actor } from "./identity.ts";
import { stopLive, type TurnDeps } from "./live.ts";
import { listed } from "./messages.ts";
import { type Move, moveSession, noteOf, type SessionState } from "./session-moves.ts";

/** A session as its reader sees it: `unread` counts what others have said since the reader's marker. */
export type Session = Conversation & { unread: number };

/** Columns of a session, for a reader. */
function sessionColumns(db: Source, reader: unknown) {
  const { conversations: c, messages: m, readMarkers: r } = db.tables;
  const marker = sql`coalesce((select ${r.seq} from ${r} where ${r.conversationId} = ${c.id} and ${r.readerId} = ${reader}), 0)`;
  const unread = sql<number>`(select cast(count(*) as integer) from ${m} where ${m.conversationId} = ${c.id} and ${m.seq} > ${marker}
    and ${listed(db)} and (${m.senderId} is null or ${m.senderId} <> ${reader}))`;
  // In a select from one table Drizzle leaves the tables' names out, but not inside another `sql`.
  return { ...getTableColumns(c), unread: sql<number>`${unread}`.as("unread") };
}

const selectSession = statement([...scopeSlots, "id"], (db, $) => {
  const c = db.tables.conversations;
  return db
    .select(sessionColumns(db, $.self))
    .from(c)
    .where(and(eq(c.id, $.id), inScope(db, $)));
});

/** Throws 404 where it is unknown, deleted or not the actor's to see. */
export async function getSession(db: Db, actor: Actor, id: string): Promise<Session> {
  const [session] = await db.all(selectSession, { ...actor, id });
  if (!session) throw notFound("session");
  return session;
}

/** The same where nobody asks what is unread, so that nothing is counted. */
export async function getSessionRow(db: Db, actor: Actor, id: string): Promise<Conversation> {
  const session = await sessionRow(db, actor, id);
  if (!session) throw notFound("session");
  return session;
}

const selectPlaces = statement(
  [...scopeSlots, "userId", "notStatus", "updatedAt", "id", "limit", "offset"],
  (db, $) => {
    const c = db.tables.conversations;
    return db
      .select({ id: c.id, updatedAt: c.updatedAt })
      .from(c)
      .where(
        and(
          eq(c.userId, $.userId),
          inScope(db, $),
          ne(c.status, $.notStatus),
          sql`(${c.updatedAt}, ${c.id}) < (${$.updatedAt}, ${$.id})`,
        ),
      )
      .orderBy(desc(c.updatedAt), desc(c.id))
      .limit($.limit)
      .offset($.offset);
  },
);

type SessionPlace = { limit: number; offset: number; after?: ConversationCursor | undefined; activeOnly: boolean };

/** Which of one user's sessions a page has, newest `updated_at` first, and where the next one begins. */
export async function findSessions(
  db: Db,
  actor: Actor,
  { limit, offset, after = NEWEST, activeOnly }: SessionPlace,
): Promise<{ ids: string[]; next: ConversationCursor | null }> {
  const notStatus = activeOnly ? "ended" : "none";
  const found = await db.all(selectPlaces, { ...actor, ...after, notStatus, limit: limit + 1, offset });
  const page = found.slice(0, limit);
  return { ids: page.map(({ id }) => id), next: found.length > limit ? (page.at(-1) ?? null) : null };
}

/** Sessions that are read at once: what is noted on each may have 16 KiB. */
const IN_PART = ["id0", "id1", "id2", "id3", "id4", "id5", "id6", "id7"] as const;

const selectSome = statement([...scopeSlots, ...IN_PART], (db, $) => {
  const c = db.tables.conversations;
  const ids = IN_PART.map((slot) => $[slot]);
  return db
    .select(sessionColumns(db, $.self))
    .from(c)
    .where(and(inArray(c.id, ids), inScope(db, $)));
});

/** Sessions in the order of their ids, in parts; those that are gone meanwhile are left out. */
export async function* readSessions(db: Db, actor: Actor, ids: readonly string[]): AsyncGenerator<Session[]> {
  for (let i = 0; i < ids.length; i += IN_PART.length) {
    const some = ids.slice(i, i + IN_PART.length);
    const [id0 = null, id1 = null, id2 = null, id3 = null, id4 = null, id5 = null, id6 = null, id7 = null] = some;
    const rows = await db.all(selectSome, { ...actor, id0, id1, id2, id3, id4, id5, id6, id7 });
    const byId = new Map(rows.map((row) => [row.id, row]));
    yield some.flatMap((id) => byId.get(id) ?? []);
  }
}

export type SessionChange = {
  id: string;
  /** Where the session should go; null leaves it where it is. */
  move: Move | null;
  reason?: string | undefined;
  /** Merged into what is there; a field that is null is taken out. */
  metadata?: Metadata | undefined;
};

/** Metadata holds so much, in bytes of JSON. */
export const MOST_METADATA = 16_384;
const TRIES = 50;

/**
 * Moves a session, or changes what is noted on it. Whether a move is lawful is decided by the state that the database
 * has at its commit: of two at once one wins. A move that takes a session from the assistant stops its turns in the same
 * commit. Throws 404 as `getSession` does, 403 where the actor may not make the move, 409 where the state forbids it, 422 for too
 * much metadata.
 */
export async function changeSession(deps: TurnDeps, actor: Actor, change: SessionChange): Promise<Session> {
  for (let i = 0; i < TRIES; i++) {
    const before = await getSessionRow(deps.db, actor, change.id);
    const after = stateAfter(before, change, actor);
    if (after === before && change.metadata === undefined) return getSession(deps.db, actor, change.id);
    const steps = changeSteps(deps, actor, { before, after, change });
    const rows = await deps.db.batch(steps).catch(nothingIfConflict);
    if (!rows) continue; // somebody was faster: their state decides
    if (steps.length > 1)
      stopLive(
        deps.live,
        (rows[STOPPED] as { id: string }[]).map((turn) => turn.id),
      );
    return getSession(deps.db, actor, change.id);
  }
  throw new AppError("unlawful_move", "The session is being changed by others all the time; try again.");
}

function stateAfter(before: Conversation, { move, metadata }: SessionChange, { sees }: Actor): SessionState {
  if (before.status === "ended" && (!move || metadata !== undefined)) {
    throw new AppError("session_ended", "The session has ended, for good.");
  }
  if (!move) return before;
  const moved = moveSession(before, move, sees === "own" ? "customer" : "staff");
  if (moved.kind === "refused") throw new AppError(moved.code, moved.detail);
  return moved.kind === "moved" ? moved.state : before;
}

/** Where the ids of the turns that a move stopped stand in the rows of its batch. */
const STOPPED = 2;

type Change = { before: Conversation; after: SessionState; change: SessionChange };

function changeSteps({ clock }: TurnDeps, actor: Actor, { before, after, change }: Change): Step<unknown>[] {
  const { id: conversationId } = before;
  const now = clock();
  const moves = after !== before;
  const row = guard(moveSessionRow, {
    ...actor,
    conversationId,
    before: `${before.status} ${before.control}`,
    agentBefore: before.agentId,
    metadataBefore: before.metadata && JSON.stringify(before.metadata),
    status: after.status,
    control: after.control,
    agentId: after.agentId,
    isLive: before.isLive || after.status === "transferred",
    metadata: merged(before.metadata, change.metadata),
    waits: after.control === "queue" ? 1 : 0,
    endedAt: after.status === "ended" ? now : null,
    now,
  });
  if (!moves) return [row];
  const noted = {
    event: after.status === "ended" ? "ended" : `to_${after.control}`,
    by: actor.self,
    ...(after.agentId !== null && { agent_id: after.agentId }),
    ...(change.reason !== undefined && { reason: change.reason }),
  };
  const content = noteOf(before, after);
  const note = { id: newId(), conversationId, role: "system", senderId: null, content, metadata: noted, now };
  return [row, step(insertMessage, note), ...stopOpenSteps({ conversationId, now }, null)];
}

function merged(before: Metadata | null, patch: Metadata | undefined): Metadata | null {
  if (patch === undefined) return before;
  const all = Object.fromEntries(Object.entries({ ...before, ...patch }).filter(([, value]) => value !== null));
  if (Buffer.byteLength(JSON.stringify(all)) <= MOST_METADATA) return all;
  throw invalid("metadata", `must be at most ${MOST_METADATA / 1024} KiB of JSON with what is there already`);
}

function nothingIfConflict(error: unknown): undefined {
  if (!isConflict(error)) throw error;
}
