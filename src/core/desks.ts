import { and, desc, inArray, ne, or, type SQL, sql } from "drizzle-orm";
import type { Db } from "../db/db.ts";
import { isInScope, type Scope } from "../db/scope.ts";
import type { Conversation } from "../db/tables.ts";
import type { Bus } from "./notes.ts";

/** Agents that watch in this process what they have before them: what changes is read once, however many watch. */

/** Somebody who is told of the sessions that wait and of an agent's own, as far as they are in scope. */
export type Desk = {
  readonly scope: Scope;
  readonly agentId: string;
  hear(session: Conversation): void;
};

export type Desks = {
  /**
   * From now on a desk is told of each session that changes and is before it, or was until then, until `leave` is called.
   * `begin` takes the sessions that it has been told of already.
   */
  join(desk: Desk): { begin(sessions: readonly Conversation[]): void; leave(): void };
  stop(): void;
};

export type DeskDeps = {
  readonly db: Db;
  readonly bus: Bus;
  readonly log: { error(fields: object, message: string): void };
};

/** Sessions of each kind that a desk is told of at once. */
export const MOST_AT_ONCE = 200;
/** Changes that come together are read together, in milliseconds. */
const TOGETHER_MS = 50;
/** Notes may be lost: so often, in milliseconds, it is looked for what nobody was told of. */
const POLL_MS = 800;
/** Sessions, or agents, in one query: a database takes only so many values. */
const READ_AT_ONCE = 500;
/** Sessions that are kept in mind; of one that is not nobody is told that it waits no more. */
const MOST_KNOWN = 10_000;

/** Before whom a session is, and at which revision; null where it waits for any agent. */
type Place = { readonly rev: number; readonly agentId: string | null };

function placeOf({ status, control, agentId, rev }: Conversation): Place | undefined {
  if (status === "ended" || control === "assistant") return undefined;
  return { rev, agentId: control === "queue" ? null : agentId };
}

/** Below every revision: of that session nobody has been told but by its own reading. */
const UNTOLD = -1;

const isBefore = (desk: Desk, place: Place | undefined): boolean =>
  place !== undefined && (place.agentId === null || place.agentId === desk.agentId);

/** Starts to look after the desks of this process. Nothing is read while there are none. */
export function createDesks({ db, bus, log }: DeskDeps): Desks {
  const desks = new Set<Desk>();
  const known = new Map<string, Place>();
  const changed = new Set<string>();
  let together: NodeJS.Timeout | undefined;
  let polling: NodeJS.Timeout | undefined;
  const unlisten = bus.listen((note) => {
    if (note.type === "changed" && desks.size > 0) readSoon(note.conversationId);
  });

  function readSoon(...ids: string[]): void {
    for (const id of ids) changed.add(id);
    together ??= setTimeout(async () => {
      await unlessFailed(tellChanged);
      together = undefined;
      if (changed.size > 0) readSoon();
    }, TOGETHER_MS);
  }

  const unlessFailed = (work: () => Promise<void>) =>
    work().catch((error) => log.error({ err: error }, "the queue could not be looked at"));

  async function tellChanged(): Promise<void> {
    const ids = [...changed];
    changed.clear();
    for (const some of chunksOf(ids)) {
      const rows = await readRows(db, some, (id) => known.has(id));
      const found = new Map(rows.map((row) => [row.id, row]));
      for (const id of some) tell(id, found.get(id));
    }
  }

  function tell(id: string, session: Conversation | undefined): void {
    const before = known.get(id);
    if (session && session.rev === before?.rev) return;
    const now = session && placeOf(session);
    const told = [...desks].filter((desk) => isBefore(desk, before) || isBefore(desk, now));
    know(id, told.some((desk) => isBefore(desk, now)) ? now : undefined);
    if (!session) return; // it is deleted
    for (const desk of told) if (isInScope(session, desk.scope)) desk.hear(session);
  }

  function know(id: string, place: Place | undefined): void {
    known.delete(id);
    if (place) known.set(id, place);
    const [oldest] = known.keys();
    if (known.size > MOST_KNOWN && oldest !== undefined) known.delete(oldest);
  }

  /** What a desk has read for itself; the others have not been told of it yet, and are. */
  function noteBegun(session: Conversation): void {
    const place = placeOf(session);
    if (desks.size === 1) know(session.id, place);
    else if (place && !known.has(session.id)) know(session.id, { ...place, rev: UNTOLD });
  }

  let looking = false;
  async function look(): Promise<void> {
    if (looking) return;
    looking = true;
    await unlessFailed(async () => {
      const agents = [...new Set([...desks].map(({ agentId }) => agentId))];
      const rows = await readPlaces(db, { agents, known: [...known.keys()] });
      const found = new Map(rows.map(({ id, rev }) => [id, rev]));
      const gone = [...known.keys()].filter((id) => !found.has(id));
      const news = [...found].filter(([id, rev]) => known.get(id)?.rev !== rev).map(([id]) => id);
      if (news.length + gone.length > 0 && desks.size > 0) readSoon(...news, ...gone);
    });
    looking = false;
  }

  function rest(): void {
    clearInterval(polling);
    clearTimeout(together);
    [polling, together] = [undefined, undefined];
    changed.clear();
    known.clear();
  }

  return {
    join(desk) {
      desks.add(desk);
      polling ??= setInterval(look, POLL_MS).unref();
      return {
        begin(sessions) {
          const news = sessions.filter(({ id, rev }) => (known.get(id)?.rev ?? UNTOLD) < rev);
          for (const one of news) noteBegun(one);
          if (desks.size > 1 && news.length > 0) readSoon(...news.map(({ id }) => id));
        },
        leave() {
          desks.delete(desk);
          if (desks.size === 0) rest();
        },
      };
    },
    stop() {
      unlisten();
      desks.clear();
      rest();
    },
  };
}

function chunksOf<T>(all: readonly T[]): T[][] {
  return Array.from({ length: Math.ceil(all.length / READ_AT_ONCE) }, (_, i) =>
    all.slice(i * READ_AT_ONCE, (i + 1) * READ_AT_ONCE),
  );
}

/** Of one that nobody had before them, only what may be before somebody now. */
function readRows(db: Db, ids: readonly string[], isKnown: (id: string) => boolean): Promise<Conversation[]> {
  const c = db.tables.conversations;
  const mayMatter = or(ne(c.control, "assistant"), inArray(c.id, ids.filter(isKnown)));
  return Promise.resolve(
    db
      .select()
      .from(c)
      .where(and(inArray(c.id, [...ids]), mayMatter)),
  );
}

type Looked = { agents: readonly string[]; known: readonly string[] };

/** At which revisions those are that wait the longest, that the agents were last in control of, and that are known. */
async function readPlaces(db: Db, { agents, known }: Looked): Promise<{ id: string; rev: number }[]> {
  const c = db.tables.conversations;
  const places = (where: SQL | undefined) => db.select({ id: c.id, rev: c.rev }).from(c).where(where);
  const waiting = places(sql`${c.control} = 'queue' and ${c.status} <> 'ended'`);
  const rows = await waiting.orderBy(c.queuedAt, c.id).limit(MOST_AT_ONCE);
  for (const some of chunksOf(agents)) {
    const own = places(and(inArray(c.agentId, some), sql`${c.status} <> 'ended' and ${c.control} = 'agent'`));
    rows.push(...(await own.orderBy(desc(c.updatedAt), desc(c.id)).limit(MOST_AT_ONCE * some.length)));
  }
  const found = new Set(rows.map(({ id }) => id));
  const others = known.filter((id) => !found.has(id));
  for (const some of chunksOf(others)) rows.push(...(await places(inArray(c.id, some))));
  return rows;
}
