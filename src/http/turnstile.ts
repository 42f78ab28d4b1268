import { setTimeout as sleep } from "node:timers/promises";

/**
 * Long pieces are made one after the other with a pause between them, whoever wants how many: all others have their turns,
 * and what a piece leaves behind is collected before hundreds of them have been made.
 */

/** A piece is long from here on, in UTF-16 units or bytes. */
const LONG = 32_768;
/** Behind a long piece, in milliseconds for each 128 KiB begun: 60 MiB a second. */
const PAUSE_MS = 2;
const PAUSED_FOR = 131_072;

let line: Promise<unknown> = Promise.resolve();
let waiting = 0;
let isUsed = false;
let pauseMs = PAUSE_MS;

/** Notes that a piece was made, and tells whether it was long. */
export function madePiece(length: number): boolean {
  if (length < LONG) return false;
  isUsed = true;
  pauseMs = PAUSE_MS * Math.ceil(length / PAUSED_FOR);
  setTimeout(() => {
    isUsed = false;
  }, pauseMs);
  return true;
}

/** To be waited for before another long piece is made; undefined where one may be made now. */
export function freeRound(): Promise<void> | undefined {
  if (!isUsed && waiting === 0) return undefined;
  waiting++;
  const turn = line.then(() => sleep(pauseMs));
  line = turn;
  return turn.then(() => {
    waiting--;
  });
}
