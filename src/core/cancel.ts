import { isConflict } from "../db/db.ts";
import { MARKED, stopSteps } from "../db/turn-stop.ts";
import { AppError, notFound } from "./errors.ts";
import { endOf } from "./follow.ts";
import type { Actor } from "./identity.ts";
import { stopLive, type TurnDeps, type TurnState } from "./live.ts";
import { getTurn, isOpen, seenTurn } from "./rows.ts";
import { sleep } from "./time.ts";

/** How long the end of a turn is waited for, in milliseconds; another instance sees the mark within half a second. */
const WAIT_MS = 2_000;

/**
 * Cancels a turn wherever it runs or waits: its provider is stopped, its text kept. Gives the turn as it stands then,
 * which is ended but where its instance does not answer. Throws 409 for one that has ended, 404 as `getTurn` does.
 */
export async function cancelTurn(deps: TurnDeps, actor: Actor, turnId: string): Promise<TurnState> {
  const turn = await getTurn(deps.db, actor, turnId);
  const { conversationId } = turn;
  const rows = await deps.db.batch(stopSteps({ ...actor, conversationId, now: deps.clock() }, turnId)).catch(unseen);
  if (rows[MARKED]?.length === 0) {
    throw new AppError("turn_finished", "The turn has ended; there is nothing to cancel.", { turnId });
  }
  stopLive(deps.live, [turnId]);
  const ended = await Promise.race([endOf(deps, seenTurn(actor, turn)), sleep(WAIT_MS)]);
  return ended && !isOpen(ended.turn) ? ended.turn : getTurn(deps.db, actor, turnId);
}

function unseen(error: unknown): never {
  throw isConflict(error) ? notFound("turn") : error;
}
