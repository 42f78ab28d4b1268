import { setImmediate as nextRound } from "node:timers/promises";

const lines = new Map<string, Promise<unknown>>();

/**
 * Runs what changes the same thing one after the other in this process, each in a round of its own of the event loop: a hundred who
 * try at once would fail and try again for seconds.
 */
export function inLine<R>(id: string, work: () => Promise<R>): Promise<R> {
  const before = lines.get(id);
  const turn = before ? before.then(() => nextRound()).then(work) : work();
  const over = turn.then(
    () => {},
    () => {},
  );
  lines.set(id, over);
  over.then(() => {
    if (lines.get(id) === over) lines.delete(id);
  });
  return turn;
}
