import type { Actor } from "./identity.ts";
import { type Earlier, earlierUse, type RequestKey } from "./keys.ts";
import { LEASE_MS, LEAVING, type LiveTurn, LOST, type SeenTurn, type TurnDeps, type TurnState } from "./live.ts";
import { sleep } from "./time.ts";

/** How often it is looked whether a turn of another process goes on, in milliseconds. */
const POLL_MS = 50;
/** A lease that is neither renewed nor over by then is nobody's to wait for: it runs out, and is then found by a sweep. */
const PATIENCE_MS = 2 * LEASE_MS;

/**
 * What a key was used for. Of a turn that another process runs, only once that process has renewed its lease, or the turn
 * has ended: until then nobody knows whether it has died. Throws as `earlierUse` does.
 */
export async function settledUse(deps: TurnDeps, actor: Actor, key: RequestKey): Promise<Earlier | undefined> {
  const look = () => earlierUse(deps.db, actor, { key, now: deps.clock() });
  const first = await look();
  const until = performance.now() + PATIENCE_MS;
  const isUnsure = (use: Earlier | undefined) =>
    use?.leaseUntil != null && use.leaseUntil === first?.leaseUntil && !deps.live.turns.has(use.turn.turnId);
  let use = first;
  while (isUnsure(use) && performance.now() < until) {
    await sleep(POLL_MS);
    use = await look();
  }
  return use;
}

/** The turn of a key, to be followed; `again` begins the one that takes its place, should its process die meanwhile. */
export const joined = ({ live }: TurnDeps, { turn }: Earlier, again: SeenTurn["again"]): SeenTurn | LiveTurn =>
  live.turns.get(turn.turnId) ?? { ...turn, again };

/** Whether a turn has ended with its process, and with nothing else. */
export const diedWithItsProcess = ({ error }: Pick<TurnState, "error">): boolean =>
  error !== null && [LOST, LEAVING].some(({ code, detail }) => error.code === code && error.detail === detail);
