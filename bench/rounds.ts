/**
 * What each subject came to in each round. Rounds are interleaved: in each, every subject has the machine to itself for a
 * while. There and back again, so that what drifts meets all alike.
 */
export async function inRounds<S, F>(
  times: number,
  subjects: readonly S[],
  measure: (subject: S, round: number) => Promise<F>,
): Promise<Map<S, F>[]> {
  const done: Map<S, F>[] = [];
  for (let round = 0; round < times; round++) {
    const figures = new Map<S, F>();
    for (const subject of round % 2 === 0 ? subjects : subjects.toReversed()) {
      figures.set(subject, await measure(subject, round));
    }
    done.push(figures);
  }
  return done;
}

/** The median over the rounds of whatever is taken of each; as text, empty where there is none. */
export function over<R>(rounds: readonly R[], take: (round: R) => number | undefined, digits: number): string {
  const value = median(rounds.map((round) => take(round) ?? Number.NaN));
  return Number.isNaN(value) ? "" : value.toFixed(digits);
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const half = sorted.length / 2;
  return ((sorted[Math.ceil(half) - 1] ?? Number.NaN) + (sorted[Math.floor(half)] ?? Number.NaN)) / 2;
}

export function quantile(values: ArrayLike<number>, part: number): number {
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
}

/** A table of Markdown: the first column is text, the others are numbers. */
export function printHead(columns: readonly string[]): void {
  console.log(`\n| ${columns.join(" | ")} |\n|---|${"---:|".repeat(columns.length - 1)}`);
}

export const printRow = (cells: readonly (string | number)[]): void => console.log(`| ${cells.join(" | ")} |`);
