/** Pieces of answers that are heavy since one message is: an edited or much decorated one is sent whole. */

/** A piece counts as heavy from here on, in bytes. */
const HEAVY_BYTES = 2 ** 18;
/** What heavy pieces may take together, while their readers take them. */
const MOST_BYTES = 2 ** 25;

export type Heavy = {
  /** Notes that a reader has a piece to take now, in place of the one before; `cut` hangs up on it. */
  hold(reader: object, bytes: number, cut: () => void): void;
  letGo(reader: object): void;
};

/** Bounds what heavy pieces take together: where a new one has no room, whoever has left its own untaken for longest is cut off. */
export function boundHeavy(most = MOST_BYTES): Heavy {
  const held = new Map<object, { bytes: number; cut: () => void }>();
  let total = 0;
  function letGo(reader: object): void {
    total -= held.get(reader)?.bytes ?? 0;
    held.delete(reader);
  }
  return {
    letGo,
    hold(reader, bytes, cut) {
      letGo(reader);
      if (bytes < HEAVY_BYTES) return;
      for (const [other, { cut: cutOther }] of held) {
        if (total + bytes <= most) break;
        letGo(other);
        cutOther();
      }
      held.set(reader, { bytes, cut });
      total += bytes;
    },
  };
}
