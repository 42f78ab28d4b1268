import { and, eq } from "drizzle-orm";
import { type Db, statement } from "../db/db.ts";
import { inScope, scopeSlots } from "../db/scope.ts";
import type { Conversation } from "../db/tables.ts";
import { followTurn } from "./follow.ts";
import type { Actor } from "./identity.ts";
import type { TurnDeps } from "./live.ts";
import type { Bus, Note } from "./notes.ts";
import type { TurnEvent } from "./progress.ts";
import { openTurn, refOf, seenTurn } from "./rows.ts";
import { changedPosts, type Post } from "./thread.ts";

/** One session that is watched in this process: it is read once, however many watch it. */

/**
 * A row as it stands after a change. Several rows may have one revision: whoever has heard the `last` of them has heard
 * all that there is up to it.
 */
export type Changed = { rev: number; last: boolean } & (
  | { type: "session"; session: Conversation }
  | { type: "message"; message: Post }
);

/** What is told in passing. An answer grows by `text` at `offset`, in UTF-16 units; `n` counts its beginnings. */
export type Passing =
  | { type: "delta"; messageId: string; turnId: string; n: number; offset: number; text: string }
  | { type: "typing"; senderId: string; typing: boolean };

export type Told = Changed | Passing | { type: "gone" };

/** The answer that is being made, as far as its watchers know it. */
export type Running = { messageId: string; turnId: string; n: number; text: string };

export type Watched = {
  readonly conversationId: string;
  /** The revision up to which all who listen have been told. */
  rev: number;
  running: Running | null;
  readonly listeners: Set<(told: Told) => void>;
};

export type FeedDeps = TurnDeps & { readonly bus: Bus };

export type Feed = { readonly at: Watched; hear(note: Note): void; wake(): void; stop(): void };

/** Reads a session whenever it is woken, and tells what has changed; follows the answer that is being made in it. */
export function startFeed(deps: FeedDeps, at: Watched): Feed {
  const { db, log } = deps;
  const left = new AbortController();
  let stale = false;
  let reading: Promise<void> | null = null;
  let following: Promise<void> | null = null;

  async function read(): Promise<void> {
    while (stale && !left.signal.aborted) {
      stale = false;
      const session = await tellChanges(db, at);
      if (session && session.openTurns > 0) following ??= follow().finally(() => (following = null));
    }
  }
  const follow = () =>
    followRunning(deps, at, left.signal).catch((error) => log.error({ err: error }, "an answer could not be followed"));

  function wake(): void {
    stale = true;
    reading ??= read()
      .catch((error) => log.error({ err: error }, "a watched session could not be read")) // and is looked at again soon
      .finally(() => (reading = null));
  }
  wake();
  return {
    at,
    wake,
    hear: (note) => (note.type === "changed" ? wake() : tell(at, note)),
    stop: () => left.abort(),
  };
}

function tell(at: Watched, told: Told): void {
  for (const hear of at.listeners) hear(told);
}

/** Of the running answer more may be told already than its row has; once it is whole, nothing of it is told any more. */
function tellChange(at: Watched, changed: Changed): void {
  const { running } = at;
  if (changed.type === "message" && changed.message.id === running?.messageId) {
    if (changed.message.status === "in_progress") changed.message.content = running.text;
    else at.running = null;
  }
  tell(at, changed);
}

/** A feed reads for all who watch, each of whom has shown that it may. */
const ALL_READERS: Actor = { self: "", sees: "all", owner: null, userId: "" };

const selectRow = statement([...scopeSlots, "id"], (db, $) => {
  const c = db.tables.conversations;
  return db
    .select()
    .from(c)
    .where(and(eq(c.id, $.id), inScope(db, $)));
});

/** Tells what has changed since it was last told; undefined where the conversation is gone. */
async function tellChanges(db: Db, at: Watched): Promise<Conversation | undefined> {
  const [session] = await db.all(selectRow, { ...ALL_READERS, id: at.conversationId });
  if (!session) {
    tell(at, { type: "gone" });
    return undefined;
  }
  for await (const changed of changesOf(db, ALL_READERS, { session, after: at.rev })) tellChange(at, changed);
  at.rev = Math.max(at.rev, session.rev);
  return session;
}

/** Changes read at once. */
const PAGE = 200;
/** Behind every message of a revision. */
const LAST_SEQ = 2 ** 31 - 1;

type Changes = { session: Conversation; after: number };

/** What of a session changed after a revision, as it stands at the one that `session` has, in the order of the changes. */
export async function* changesOf(db: Db, actor: Actor, { session, after }: Changes): AsyncGenerator<Changed> {
  const { rev } = session;
  if (rev <= after) return;
  let before: Post | undefined; // told once it is known whether another has its revision
  for await (const message of postsBetween(db, actor, { session, after })) {
    if (before) yield { type: "message", rev: before.rev, last: before.rev !== message.rev, message: before };
    if (message.rev === rev && before?.rev !== rev) yield { type: "session", rev, last: false, session };
    before = message;
  }
  if (before) yield { type: "message", rev: before.rev, last: true, message: before };
  if (before?.rev !== rev) yield { type: "session", rev, last: true, session };
}

async function* postsBetween(db: Db, actor: Actor, { session, after }: Changes): AsyncGenerator<Post> {
  const { id, rev: upTo } = session;
  let place = { rev: after, seq: LAST_SEQ };
  for (;;) {
    const page = await changedPosts(db, actor, { conversationId: id, ...place, upTo, limit: PAGE });
    yield* page;
    place = page.at(-1) ?? place;
    if (page.length < PAGE) return;
  }
}

/** Tells of the answers that are being made, until none is open. */
async function followRunning(deps: FeedDeps, at: Watched, signal: AbortSignal): Promise<void> {
  for (;;) {
    const turn = await openTurn(deps.db, ALL_READERS, at.conversationId);
    if (!turn || signal.aborted) return;
    const { turnId, answerId: messageId } = refOf(turn);
    at.running = { messageId, turnId, n: 0, text: "" };
    try {
      for await (const events of followTurn(deps, seenTurn(ALL_READERS, turn), { from: null, signal })) {
        for (const event of events) heed(at, event);
      }
    } finally {
      at.running = null;
    }
    if (deps.live.leaving) return;
  }
}

function heed(at: Watched, event: TurnEvent): void {
  const { running } = at;
  if (!running) return;
  if (event.type === "restart") Object.assign(running, { n: event.to.n, text: "" });
  if (event.type !== "delta") return;
  const { n, text: before } = running.n === event.to.n ? running : { n: event.to.n, text: "" };
  Object.assign(running, { n, text: before + event.text });
  const { messageId, turnId } = running;
  tell(at, { type: "delta", messageId, turnId, n, offset: before.length, text: event.text });
}
