import type { BegunTurn } from "../db/turn-writes.ts";
import { addLive, type Ended, LEAVING, type Live, type LiveTurn, removeLive, type TurnDeps } from "./live.ts";
import { createProgress, type Standing } from "./progress.ts";
import { isOpen } from "./rows.ts";
import { runTurn } from "./run.ts";
import { waitForSlot } from "./slot.ts";
import { orAfter } from "./time.ts";
import { logEnd, namesOf } from "./turn-log.ts";

type Startable = Omit<LiveTurn, "stop" | "ended" | "progress" | "spent"> &
  Pick<BegunTurn, "status"> & {
    /** When it was asked for, by `performance.now()`. */
    since: number;
  };

/** Runs a stored turn in this process, at once or when its time comes. */
export function startTurn(deps: TurnDeps, stored: Startable): LiveTurn {
  const { live, log, observe } = deps;
  const progress = createProgress(stored.status === "queued" ? "queued" : null);
  const spent = { since: stored.since, waitedMs: 0 };
  const turn = { ...stored, stop: new AbortController(), progress, spent };
  const ended = (async () => {
    try {
      const begun = performance.now();
      const elsewhere = stored.status === "queued" ? await waitForSlot(deps, turn) : null;
      if (elsewhere) return elsewhere;
      spent.waitedMs += performance.now() - begun;
      live.holding.add(turn.turnId);
      progress.change({ status: null });
      return await runTurn(deps, turn);
    } finally {
      removeLive(live, turn.turnId);
    }
  })();
  ended.then(
    (end) => {
      progress.change(isOpen(end.turn) ? {} : standingOf(end, progress.standing));
      if (isOpen(end.turn)) return;
      observe.turn(end.turn, ownMs(turn));
      logEnd(log, end.turn, { ms: performance.now() - stored.since, trace: turn.plan.trace });
    },
    (error) => {
      progress.change({});
      observe.turn({ model: turn.model, target: null, status: "failed", error: UNSTORED }, ownMs(turn));
      const names = namesOf({ ...turn, id: turn.turnId }, turn.plan.trace);
      log.error({ err: error, ...names, outcome: "failed", code: UNSTORED.code }, "a turn could not be stored");
    },
  );
  const running: LiveTurn = { ...turn, ended };
  addLive(live, running);
  return running;
}

/** How a turn is counted of which nobody knows the end until its lease has run out. */
const UNSTORED = { code: "internal_error", detail: "The answer could not be stored." };

const ownMs = ({ spent }: Pick<LiveTurn, "spent">) => performance.now() - spent.since - spent.waitedMs;

/** What readers are told last. Of a turn that somebody else has ended, the stored text may be another than they have. */
function standingOf(ended: Ended, { n, text }: Standing): Partial<Standing> {
  const { turn, content } = ended;
  if (content === "" && text !== "") return { ended }; // the conversation was deleted: they keep what they have
  const goesOn = content.startsWith(text);
  return { n: Math.max(goesOn ? n : n + 1, turn.restarts), text: content, ended };
}

/** What a stopped turn gets to store its text where nothing is said of it, in milliseconds. */
const STORE_MS = 11_500;

/**
 * Resolves when every turn of this process has ended, or after `ms`; what then still runs is stopped, its text kept. For
 * that it gets `storeMs`: a database may not answer, and the next process closes what this one could not.
 */
export async function drainTurns(live: Live, ms: number, storeMs = STORE_MS): Promise<void> {
  live.leaving = true;
  const ended = Promise.allSettled([...live.turns.values()].map((turn) => turn.ended));
  await orAfter(ms, ended);
  for (const turn of live.turns.values()) turn.stop.abort(LEAVING);
  await orAfter(storeMs, ended);
}
