import type { Db } from "../db/db.ts";
import type { Conversation } from "../db/tables.ts";
import { changesOf, EVERYBODY, type Revision, sessionRow } from "./changes.ts";
import { followTurn } from "./follow.ts";
import type { TurnDeps, TurnRef } from "./live.ts";
import type { Bus, Note } from "./notes.ts";
import type { TurnEvent } from "./progress.ts";
import { openTurn, refOf } from "./rows.ts";
import { sleep } from "./time.ts";

/** One session that is watched in this process: it is read once, however many watch it. */

/** An answer grows by `text` at `offset`, in UTF-16 units; `n` counts its beginnings. */
export type Delta = {
  readonly type: "delta";
  readonly messageId: string;
  readonly turnId: string;
  readonly n: number;
  readonly offset: number;
  readonly text: string;
};

/** What is told in passing. */
export type Passing = Delta | { readonly type: "typing"; readonly senderId: string; readonly typing: boolean };

export type Told = Revision | Passing | { readonly type: "gone" };

/** The answer that is being made, as far as it has been told: as many units of its `n`th beginning. */
export type Running = { readonly turn: TurnRef; n: number; text: string };

export type Watched = {
  readonly conversationId: string;
  /** The revision up to which all who listen have been told. */
  rev: number;
  running: Running | null;
  readonly listeners: Set<(told: Told) => void>;
};

export type FeedDeps = TurnDeps & { readonly bus: Bus };

export type Feed = { readonly at: Watched; hear(note: Note): void; wake(): void; stop(): void };

/** An answer that could not be followed is looked at again after so long, in milliseconds. */
const AGAIN_MS = 500;

/** Reads a session whenever it is woken, and tells what has changed; follows the answer that is being made in it. */
export function startFeed(deps: FeedDeps, at: Watched): Feed {
  const { db, log } = deps;
  const left = new AbortController();
  let stale = false;
  let reading: Promise<void> | null = null;

  async function read(): Promise<void> {
    while (stale && !left.signal.aborted) {
      stale = false;
      const session = await tellChanges(db, at);
      if (session && session.openTurns > 0 && !at.running) await findRunning();
    }
  }

  /**
   * What is still open after the changes were told has not been told to be whole. It may be too new to have been told of
   * at all: a reader that hears a piece of what it does not know looks anew.
   */
  async function findRunning(): Promise<void> {
    const turn = await openTurn(db, EVERYBODY, at.conversationId);
    if (!turn) return;
    at.running = { turn: refOf(turn), n: 0, text: "" };
    follow(at.running).catch(complain("an answer is followed no more"));
  }

  async function follow(running: Running): Promise<void> {
    for (;;) {
      await tellRunning(deps, at, { running, signal: left.signal }).catch(complain("an answer could not be followed"));
      if (deps.live.leaving || left.signal.aborted) return;
      await wake(); // tells that it is whole
      if (at.running !== running) return;
      await sleep(AGAIN_MS, left.signal);
    }
  }

  const complain = (message: string) => (error: unknown) =>
    log.error({ err: error, conversation_id: at.conversationId }, message);

  /** Resolves once what had changed by now is told, or could not be read. */
  function wake(): Promise<void> {
    stale = true;
    reading ??= read()
      .catch(complain("a watched session could not be read")) // and is looked at again soon
      .finally(() => {
        reading = null;
        if (stale && !left.signal.aborted) void wake(); // it was woken in its last moment
      });
    return reading;
  }
  void wake();
  return {
    at,
    wake: () => void wake(),
    hear: (note) => (note.type === "changed" ? void wake() : tell(at, note)),
    stop: () => left.abort(),
  };
}

function tell(at: Watched, told: Told): void {
  for (const hear of at.listeners) hear(told);
}

/** Tells what has changed since it was last told; undefined where the session is gone. */
async function tellChanges(db: Db, at: Watched): Promise<Conversation | undefined> {
  const session = await sessionRow(db, EVERYBODY, at.conversationId);
  if (!session) {
    at.running = null;
    tell(at, { type: "gone" });
    return undefined;
  }
  for await (const revision of changesOf(db, EVERYBODY, { session, after: at.rev })) {
    const seen = asSoFar(revision, at.running);
    if (isWholeIn(revision, at.running)) at.running = null; // nothing more is told of it
    at.rev = revision.rev;
    tell(at, seen);
  }
  return session;
}

const isWholeIn = ({ messages }: Revision, running: Running | null): boolean =>
  messages.some(({ id, status }) => id === running?.turn.answerId && status !== "in_progress");

/** Of the answer that is being made as much is told as its watchers know: its row may have less, or more. */
export function asSoFar(revision: Revision, running: Running | null): Revision {
  if (!running) return revision;
  const messages = revision.messages.map((message) =>
    message.id === running.turn.answerId && message.status === "in_progress"
      ? { ...message, content: running.text }
      : message,
  );
  return { ...revision, messages };
}

type Followed = { running: Running; signal: AbortSignal };

/** Tells of an answer from where its watchers are, until it has ended or somebody else was told that it is whole. */
async function tellRunning(deps: TurnDeps, at: Watched, { running, signal }: Followed): Promise<void> {
  const from = { n: running.n, offset: running.text.length };
  for await (const events of followTurn(deps, { ...running.turn, seenBy: EVERYBODY }, { from, signal })) {
    for (const event of events) {
      if (at.running !== running) return;
      heed(at, running, event);
    }
  }
}

function heed(at: Watched, running: Running, event: TurnEvent): void {
  if (event.type === "restart") Object.assign(running, { n: event.to.n, text: "" });
  if (event.type !== "delta") return;
  const { turn, n, text: before } = running;
  running.text = before + event.text;
  const { answerId: messageId, turnId } = turn;
  tell(at, { type: "delta", messageId, turnId, n, offset: before.length, text: event.text });
}
