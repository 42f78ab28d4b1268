import { setTimeout as sleep } from "node:timers/promises";

/**
 * Long pieces are made one after the other with a pause between them, whoever wants how many: all others have their turns,
 * and what a piece leaves behind is collected before hundreds of them have been made.
 */

/** A piece is long from here on, in UTF-16 units or bytes. */
const LONG = 32_768;
/** Between two long pieces, in milliseconds: 500 of them a second, which is 60 MiB of the longest messages. */
const PAUSE_MS = 2;

let line: Promise<unknown> = Promise.resolve();
let waiting = 0;
let isUsed = false;

/** Notes that a piece was made, and tells whether it was long. */
export function madePiece(length: number): boolean {
  if (length < LONG) return false;
  isUsed = true;
  setTimeout(() => {
    isUsed = false;
  }, PAUSE_MS);
  return true;
}

/** To be waited for before another long piece is made; undefined where one may be made now. */
export function freeRound(): Promise<void> | undefined {
  if (!isUsed && waiting === 0) return undefined;
  waiting++;
  const turn = line.then(() => sleep(PAUSE_MS));
  line = turn;
  return turn.then(() => {
    waiting--;
  });
}
