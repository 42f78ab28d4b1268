import { setImmediate as nextRound } from "node:timers/promises";

/** Long pieces are made one in a round of the event loop, whoever wants how many: all others have their turns in between. */

/** A piece is long from here on, in UTF-16 units or bytes. */
const LONG = 32_768;

let line: Promise<unknown> = Promise.resolve();
let waiting = 0;
let isUsed = false;

/** Notes that a piece was made, and tells whether it was long. */
export function madePiece(length: number): boolean {
  if (length < LONG) return false;
  isUsed = true;
  setImmediate(() => {
    isUsed = false;
  });
  return true;
}

/** To be waited for before another long piece is made; undefined where this round is still free. */
export function freeRound(): Promise<void> | undefined {
  if (!isUsed && waiting === 0) return undefined;
  waiting++;
  const turn = line.then(() => nextRound());
  line = turn;
  return turn.then(() => {
    waiting--;
  });
}
