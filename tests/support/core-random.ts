/** Random, yet the same at every run: whole numbers below a limit. */
export type Random = (below: number) => number;

/** mulberry32. */
export function randomFrom(seed: number): Random {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

export function pick<T>(random: Random, from: readonly [T, ...T[]]): T {
  return from[random(from.length)] ?? from[0];
}

/** A string of up to `most` of these pieces. */
export function stringOf(random: Random, pieces: readonly [string, ...string[]], most: number): string {
  return Array.from({ length: random(most + 1) }, () => pick(random, pieces)).join("");
}

/** The same text in pieces, some of them empty. */
export function split(random: Random, text: string): string[] {
  const pieces: string[] = [];
  for (let at = 0; at < text.length; ) {
    const size = random(4);
    pieces.push(text.slice(at, at + size));
    at += size;
  }
  return pieces;
}
