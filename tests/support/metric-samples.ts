/** One line of Prometheus' text format. */
export type Sample = { name: string; labels: Record<string, string>; value: number };

const LINE = /^(\w+)(?:\{(.*)\})? (\S+)$/;

/** Every sample in a text; throws where a line is none. */
export function samplesIn(text: string): Sample[] {
  const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return lines.map((line) => {
    const [, name, written = "", value] = LINE.exec(line) ?? [];
    if (name === undefined) throw new Error(`no sample: ${line}`);
    const pairs = [...written.matchAll(/([a-z_]+)="((?:[^"\\]|\\.)*)"/gi)];
    return { name, labels: Object.fromEntries(pairs.map(([, key, text]) => [key, text])), value: Number(value) };
  });
}

/** What stands at `name` with exactly these labels; 0 where it was never counted. */
export function valueAt(samples: readonly Sample[], name: string, labels: Record<string, string> = {}): number {
  const isIt = (one: Sample) => one.name === name && keyOf(one.labels) === keyOf(labels);
  return samples.find(isIt)?.value ?? 0;
}

/** What was counted of `name` between two looks, by its labels; what did not change is left out. */
export function grown(before: readonly Sample[], after: readonly Sample[], name: string) {
  return after
    .filter((one) => one.name === name)
    .map(({ labels, value }) => ({ ...labels, by: value - valueAt(before, name, labels) }))
    .filter(({ by }) => by !== 0);
}

const keyOf = (labels: Record<string, string>) => JSON.stringify(Object.entries(labels).sort());
