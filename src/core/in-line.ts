import { setImmediate as nextRound } from "node:timers/promises";

const linesOf = new WeakMap<object, Map<string, Promise<unknown>>>();

/**
 * Runs what changes the same thing one after the other on this instance, each in a round of its own of the event loop: a hundred who
 * try at once would fail and try again for seconds.
 */
export function inLine<R>(db: object, id: string, work: () => Promise<R>): Promise<R> {
  const lines = linesOf.get(db) ?? new Map<string, Promise<unknown>>();
  linesOf.set(db, lines);
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
