import type { Db } from "../db/db.ts";
import type { Scope } from "../db/scope.ts";
import type { Turn } from "../db/tables.ts";
import type { Alternative } from "../db/turn-writes.ts";
import type { Cache } from "./cache.ts";
import type { Placed } from "./context.ts";
import type { Models, Plan, TurnError } from "./model.ts";
import type { Observe } from "./observe.ts";
import type { Progress } from "./progress.ts";
import type { TurnLog } from "./turn-log.ts";

/** What a turn needs of the rest. */
export type TurnDeps = {
  readonly db: Db;
  readonly models: Models;
  readonly live: Live;
  /** Shared by all instances; null where there is none. */
  readonly cache: Cache | null;
  /** Milliseconds since 1970. */
  readonly clock: () => number;
  /** What one user may take; null for no limit. */
  readonly allowance: { readonly turns: number | null; readonly tokensADay: number | null };
  /**
   * How long the text of a deleted message is kept, 0 for not at all, and a conversation that is not used, null for
   * ever; in milliseconds.
   */
  readonly retention: { readonly deletedMs: number; readonly untouchedMs: number | null };
  /** What the model is told in conversations that have no system prompt of their own. */
  readonly systemPrompt: string | null;
  readonly log: TurnLog;
  readonly observe: Pick<Observe, "turn">;
};

/** A turn that its process does not renew for this long, in milliseconds, is taken for lost. */
export const LEASE_MS = 10_000;

/** A turn as clients see it. */
export type TurnState = Pick<
  Turn,
  | "id"
  | "conversationId"
  | "userMessageId"
  | "messageId"
  | "status"
  | "model"
  | "target"
  | "restarts"
  | "finishReason"
  | "usage"
  | "cost"
  | "attempts"
  | "error"
  | "context"
  | "requestId"
  | "createdAt"
  | "completedAt"
>;

/** How a turn ended. `content` is empty where nothing was kept. */
export type Ended = {
  turn: TurnState;
  content: string;
  /** The other whole answers, where several were wanted. */
  alternatives: Alternative[];
};

/** A turn as it was stored, wherever it runs. */
export type TurnRef = {
  readonly turnId: string;
  readonly conversationId: string;
  readonly questionId: string;
  readonly answerId: string;
  /** As it was asked for. */
  readonly model: string;
};

/** A turn that somebody follows by its row, who may see it. */
export type SeenTurn = TurnRef & {
  readonly seenBy: Scope;
  /** Where a request has joined it by its key: begins another in its place, should its process die. */
  readonly again?: (() => Promise<SeenTurn | LiveTurn>) | undefined;
};

/** A turn that this process runs or holds in line. */
export type LiveTurn = TurnRef & {
  /** The request that asked for it; null where none did. */
  readonly requestId: string | null;
  readonly seq: number;
  /** The model is shown what stands below this place in the thread: up to the question. */
  readonly before: number;
  /** The revision that this was begun on, and what the begin added to it; null where others may change it before this runs. */
  readonly basis: { readonly rev: number; readonly said: readonly Placed[] } | null;
  readonly plan: Plan;
  readonly systemPrompt: string | null;
  /** Answers wanted; the first whole one is the answer, the others are kept as superseded. */
  readonly wanted: number;
  readonly createdAt: number;
  /** When it was asked for, by `performance.now()`, and how long it has waited for others since. */
  readonly spent: { readonly since: number; waitedMs: number };
  /** Aborting it closes the provider's connection; the reason says what the turn is told. */
  readonly stop: AbortController;
  readonly progress: Progress;
  /** Rejects only where the database does. */
  readonly ended: Promise<Ended>;
};

/** The turns of this process, by their ids, and in line by their conversations. */
export type Live = {
  readonly turns: Map<string, LiveTurn>;
  readonly lines: Map<string, Set<LiveTurn>>;
  /** The ids of those that hold their conversation's slot: only these are this process's to run. */
  readonly holding: Set<string>;
  /** The process is about to end: it begins no more turns. */
  leaving: boolean;
};

export const createLive = (): Live => ({ turns: new Map(), lines: new Map(), holding: new Set(), leaving: false });

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

/** What a turn is told that is stopped from inside: by whoever may, since its process has died, or is about to end. */
export const CANCELLED: TurnError = { code: "turn_cancelled", detail: "The turn was cancelled." };
export const LOST: TurnError = { code: "provider_failed", detail: "The service stopped while it answered." };
export const LEAVING: TurnError = {
  code: "provider_unavailable",
  detail: "The service stopped while it answered; the message is stored.",
};

/** Stops the providers of those turns that run here, and takes out of line those that wait. */
export function stopLive(live: Live, turnIds: readonly string[]): void {
  for (const id of turnIds) live.turns.get(id)?.stop.abort(CANCELLED);
}
