import { type Ended, LEASE_MS, type TurnDeps, turnAhead } from "./live.ts";
import type { TurnError } from "./model.ts";
import { isOpen } from "./rows.ts";
import type { Runnable } from "./run.ts";
import { readEnd, takeSlot } from "./running.ts";
import { aborted, sleep } from "./time.ts";

/** How often a turn in line looks whether it is its time, where nothing tells it, in milliseconds. */
const SLOT_POLL_MS = 500;
/** How often it looks whether somebody else has taken it out of line, in milliseconds. */
const STILL_IN_LINE_MS = 1_000;

/**
 * Resolves with null once the turn holds its conversation's slot, in the order of storage also across instances; or with
 * its end, where it was ended while it waited. Once it is stopped it waits no longer, and stays in line unless it was
 * taken out.
 */
export async function waitForSlot(deps: TurnDeps, turn: Runnable): Promise<Ended | null> {
  const { signal } = turn.stop;
  const stopped = aborted(signal);
  for (;;) {
    const ahead = turnAhead(deps.live, turn);
    if (ahead) await Promise.race([Promise.allSettled([ahead.ended]), stopped, sleep(STILL_IN_LINE_MS)]);
    const isFirst = !turnAhead(deps.live, turn);
    if (isFirst && !signal.aborted && (await takeSlot(deps.db, { ...turn, leaseMs: LEASE_MS }))) return null;
    const ended = await readEnd(deps.db, turn.turnId);
    // In progress without us: somebody took it over while this process slept. Its end is waited for.
    if (!isOpen(ended.turn)) return ended;
    if (signal.aborted) return leftInLine(ended);
    if (isFirst) await sleep(SLOT_POLL_MS, signal);
  }
}

const LEFT: TurnError = {
  code: "provider_unavailable",
  detail: "The service is stopping; the message is stored and is answered when it is back.",
};

const leftInLine = (ended: Ended): Ended => ({ ...ended, turn: { ...ended.turn, error: LEFT } });
