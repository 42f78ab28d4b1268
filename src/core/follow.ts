import type { Alternative } from "../db/turn-writes.ts";
import { AppError } from "./errors.ts";
import { diedWithItsProcess } from "./joining.ts";
import type { Ended, LiveTurn, SeenTurn, TurnDeps, TurnRef } from "./live.ts";
import type { TurnError } from "./model.ts";
import { type Place, piecesSince, type Standing, type Told, type TurnEvent } from "./progress.ts";
import { getEnd, isOpen, readAlternatives } from "./rows.ts";
import { sleep } from "./time.ts";

/** How often the row of a turn that runs elsewhere is looked at, in milliseconds. */
const ROW_POLL_MS = 250;

type Followed = SeenTurn | LiveTurn;

const liveOf = ({ live }: TurnDeps, turn: Followed): Followed =>
  "progress" in turn ? turn : (live.turns.get(turn.turnId) ?? turn);

/**
 * Tells of a turn from its start, or from a place in its answer, until it has ended: what came together is given together.
 * A slow reader is given more at once, and holds up nobody. After `signal` it tells nothing more.
 */
export async function* followTurn(
  deps: TurnDeps,
  turn: Followed,
  { from, signal }: { from: Place | null; signal: AbortSignal },
): AsyncGenerator<TurnEvent[]> {
  let told: Told | null = from && { ...from, status: null };
  let last: TurnEvent | undefined;
  let followed = turn;
  while (!signal.aborted) {
    followed = liveOf(deps, followed); // kept past its end: its readers need not look at the row
    const { standing, changed } = await look(deps, followed);
    const before: Told = told ?? { n: standing.n, offset: 0, status: null };
    told = before;
    for (const news of piecesSince(before, standing)) {
      if (signal.aborted) return;
      told = news.told;
      last = news.events.at(-1);
      yield news.events;
    }
    if (last?.type === "ended" || goesOnElsewhere(deps, turn)) return;
    if (told === before) await changed(signal);
  }
}

/** Of a process that leaves, a turn that does not end here has no end to tell. */
const goesOnElsewhere = ({ live }: TurnDeps, { turnId }: TurnRef): boolean => live.leaving && !live.turns.has(turnId);

type Look = { standing: Readonly<Standing>; changed(signal: AbortSignal): Promise<void> };

async function look({ db }: TurnDeps, turn: Followed): Promise<Look> {
  if ("progress" in turn) return turn.progress;
  const { turn: row, content, alternatives } = await getEnd(db, turn);
  const ended = isOpen(row) ? null : { turn: row, content, alternatives };
  const status = row.status === "queued" ? row.status : null;
  const standing = { n: row.restarts, text: content, reason: null, status, ended };
  return { standing, changed: (signal) => sleep(ROW_POLL_MS, signal) };
}

/** Resolves with the end of a turn, wherever it runs. */
export async function endOf(deps: TurnDeps, turn: Followed): Promise<Ended> {
  for (;;) {
    const followed = liveOf(deps, turn);
    if ("progress" in followed) return followed.ended;
    const ended = await getEnd(deps.db, followed);
    if (!isOpen(ended.turn)) return { ...ended, alternatives: await readAlternatives(deps.db, followed) };
    await sleep(ROW_POLL_MS);
  }
}

/** The whole answer of a turn, and which turn that was. */
export type Answer = {
  turn: TurnRef;
  content: string;
  model: string;
  alternatives: Alternative[];
  completedAt: number;
};

/**
 * Waits for a turn: its whole answer, or what became of it instead, with `turn_id` and the attempts. Where the turn was
 * joined by its key and its process dies, the one that takes its place is waited for.
 */
export async function outcomeOf(deps: TurnDeps, turn: Followed): Promise<Answer | AppError> {
  const { turn: state, content, alternatives } = await endOf(deps, turn);
  if ("again" in turn && turn.again && diedWithItsProcess(state)) return outcomeOf(deps, await turn.again());
  const { status, target, attempts, createdAt, completedAt } = state;
  if (status === "completed" && target) {
    const { turnId, conversationId, questionId, answerId, model } = turn;
    const ref = { turnId, conversationId, questionId, answerId, model };
    return { turn: ref, content, model: target, alternatives, completedAt: completedAt ?? createdAt };
  }
  const error = state.error as TurnError | null;
  const lost: TurnError = { code: "provider_failed", detail: "The turn was lost." };
  const { code, detail, retry_after_s = 5 } = error ?? lost;
  const retry = code === "provider_unavailable" ? { retryAfterS: retry_after_s } : {};
  return new AppError(code, detail, { turnId: turn.turnId, attempts: attempts ?? [], ...retry });
}

/** Waits for a turn, for a caller that takes nothing less than a whole answer. Throws what became of it otherwise. */
export async function wholeAnswer(deps: TurnDeps, turn: Followed): Promise<Answer> {
  const outcome = await outcomeOf(deps, turn);
  if (outcome instanceof AppError) throw outcome;
  return outcome;
}
