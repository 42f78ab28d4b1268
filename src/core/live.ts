import type { Db } from "../db/db.ts";
import type { Attempt, Turn } from "../db/tables.ts";
import type { Alternative } from "../db/turn-writes.ts";
import type { Models, Plan, TurnError } from "./model.ts";

/** What a turn needs of the rest. */
export type TurnDeps = {
  readonly db: Db;
  readonly models: Models;
  readonly live: Live;
  /** Milliseconds since 1970. */
  readonly clock: () => number;
  /** What the model is told in conversations that have no system prompt of their own. */
  readonly systemPrompt: string | null;
  readonly log: { error(fields: object, message: string): void };
};

/** A turn that its process does not renew for this long, in milliseconds, is taken for lost. */
export const LEASE_MS = 10_000;

/** How a turn ended. `content` is empty where nothing was kept. */
export type Ended = {
  status: "completed" | "incomplete" | "failed";
  content: string;
  target: string | null;
  error: TurnError | null;
  attempts: Attempt[];
  /** The other whole answers, where several were wanted. */
  alternatives: Alternative[];
  completedAt: number;
};

/** A turn that this process runs or holds in line. */
export type LiveTurn = {
  readonly turnId: string;
  readonly conversationId: string;
  readonly questionId: string;
  readonly answerId: string;
  readonly seq: number;
  readonly plan: Plan;
  readonly systemPrompt: string | null;
  /** Answers wanted; the first whole one is the answer, the others are kept as superseded. */
  readonly wanted: number;
  /** Aborting it closes the provider's connection. */
  readonly stop: AbortController;
  /** Rejects only where the database does. */
  readonly ended: Promise<Ended>;
};

/** The turns of this process, by their ids, and in line by their conversations. */
export type Live = {
  readonly turns: Map<string, LiveTurn>;
  readonly lines: Map<string, Set<LiveTurn>>;
  /** The ids of those that hold their conversation's slot: only these are this process's to run. */
  readonly holding: Set<string>;
};

export const createLive = (): Live => ({ turns: new Map(), lines: new Map(), holding: new Set() });

export function addLive(live: Live, turn: LiveTurn): void {
  live.turns.set(turn.turnId, turn);
  const line = live.lines.get(turn.conversationId) ?? new Set();
  live.lines.set(turn.conversationId, line.add(turn));
}

export function removeLive(live: Live, turnId: string): void {
  const turn = live.turns.get(turnId);
  if (!turn) return;
  live.turns.delete(turnId);
  live.holding.delete(turnId);
  const line = live.lines.get(turn.conversationId);
  line?.delete(turn);
  if (line?.size === 0) live.lines.delete(turn.conversationId);
}

/** The turn of this process that is right ahead in line. Order is that of storage, whoever heard of it first. */
export function turnAhead(live: Live, { conversationId, seq }: Pick<LiveTurn, "conversationId" | "seq">) {
  let ahead: LiveTurn | undefined;
  for (const turn of live.lines.get(conversationId) ?? []) {
    if (turn.seq < seq && turn.seq > (ahead?.seq ?? 0)) ahead = turn;
  }
  return ahead;
}

/** Stops the providers of those turns that run here. */
export function stopLive(live: Live, turnIds: readonly string[]): void {
  for (const id of turnIds) live.turns.get(id)?.stop.abort();
}

/** An ended turn as its row and its answer tell it. */
export function endedFrom(turn: Turn, content: string | null): Ended {
  const status = turn.status === "queued" || turn.status === "in_progress" ? "failed" : turn.status;
  return {
    status,
    content: content ?? "",
    target: turn.target,
    error: turn.error as TurnError | null,
    attempts: turn.attempts ?? [],
    alternatives: [],
    completedAt: turn.completedAt ?? turn.createdAt,
  };
}
