import type { Random } from "../tests/support/core-random.ts";
import { pick } from "../tests/support/core-random.ts";
import type { Asked, Script } from "../tests/support/provider.ts";

/** Every question carries a mark of its own, so that whatever becomes of it can be told from all others. */
export const markOf = (text: string): string | undefined => text.match(/#m\d+-\d+#/g)?.at(-1);

/** What the provider was asked, by the mark of the question. */
export type AskedOf = Map<string, { at: number; text: string }[]>;

const WORDS = ["well", "no", "naïve", "日本", "🐚🌊", "👩‍👩‍👧", "so\n", "\u{1F600}", "yes"] as const;
const MOST_PIECES = 14;
const MOST_PAUSE_MS = 45;

/** A provider that takes its time, and never gives the same answer twice. */
export function answerSlowly(random: Random, asked: AskedOf): (request: Asked) => Script {
  let given = 0;
  return ({ body }) => {
    const mark = markOf(body.messages.at(-1)?.content ?? "") ?? "no mark";
    const words = Array.from({ length: 2 + random(MOST_PIECES) }, () => ` ${pick(random, WORDS)}`);
    const text = [`${++given} to ${mark}:`, ...words];
    const earlier = asked.get(mark) ?? [];
    asked.set(mark, [...earlier, { at: performance.now(), text: text.join("") }]);
    return { headersAfter: random(60), text, every: 1 + random(MOST_PAUSE_MS) };
  };
}
