import { type Ended, LEASE_MS, LEAVING, type TurnDeps, turnAhead } from "./live.ts";
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
 * its end, where it was ended while it waited. Where the service stops it waits no longer, and stays in line.
 */
export async function waitForSlot(deps: TurnDeps, turn: Runnable): Promise<Ended | null> {
  const { signal } = turn.stop;
  const stopped = aborted(signal);
  while (!signal.aborted) {
    const ahead = turnAhead(deps.live, turn);
    if (ahead) await Promise.race([Promise.allSettled([ahead.ended]), stopped, sleep(STILL_IN_LINE_MS)]);
    const isFirst = !turnAhead(deps.live, turn);
    if (isFirst && !signal.aborted && (await takeSlot(deps.db, { ...turn, leaseMs: LEASE_MS }))) return null;
    const ended = await readEnd(deps.db, turn.turnId);
    // In progress without us: somebody took it over while this process slept. Its end is waited for.
    if (!isOpen(ended.turn)) return ended;
    if (isFirst) await sleep(SLOT_POLL_MS, signal);
  }
  return endOfStopped(deps, turn);
}

/**
 * Who stops a turn stores that first, so it is read anew: what was read before may have been written before. One that was
 * cancelled and is still open is another process's, which ends it.
 */
async function endOfStopped({ db, live }: TurnDeps, { turnId, stop }: Runnable): Promise<Ended> {
  const why: TurnError = stop.signal.reason;
  for (;;) {
    const ended = await readEnd(db, turnId);
    if (!isOpen(ended.turn)) return ended;
    if (why === LEAVING || live.leaving) {
      return { ...ended, turn: { ...ended.turn, error: why === LEAVING ? LEFT : why } };
    }
    await sleep(SLOT_POLL_MS);
  }
}

const LEFT: TurnError = {
  code: "provider_unavailable",
  detail: "The service is stopping; the message is stored and is answered when it is back.",
};
