// Takes each guard of SECURITY.md out, one at a time, and runs the test that is said to hold it: that test must fail.
// `npm run guards`, or `npm run guards -- API1 isolation` for those whose threat, name or test has one of these in it.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Copy, makeCopy, type Ran } from "./copy.ts";
import { type Guard, without } from "./guard.ts";
import { guards } from "./list.ts";

/** Runs at once. Each has a copy of its own. */
const LANES = 2;

const green = new Map<string, Promise<Ran>>();

/** Each test is run once with every guard in place, by whoever needs it first: no copy lacks a guard then. */
function withAllGuards(copy: Copy, guard: Guard): Promise<Ran> {
  const key = `${guard.test} ${guard.name ?? ""}`;
  const known = green.get(key) ?? copy.run(guard);
  green.set(key, known);
  return known;
}

type Verdict = { isHeld: boolean; text: string };

async function judge(copy: Copy, guard: Guard): Promise<Verdict> {
  const before = await withAllGuards(copy, guard);
  if (before !== "passed") return { isHeld: false, text: `does not pass with the guard in place: ${before}` };
  const file = join(copy.folder, guard.file);
  const text = readFileSync(file, "utf8");
  writeFileSync(file, without(guard, text));
  const ran = await copy.run(guard).finally(() => writeFileSync(file, text));
  if (ran === "passed") return { isHeld: false, text: "NOT HELD" };
  if (ran === "broken") return { isHeld: false, text: "did not run without the guard" };
  return { isHeld: true, text: `"${ran[0]}"` };
}

const words = process.argv.slice(2);
const isChosen = ({ threat, what, test }: Guard) =>
  words.length === 0 || words.some((word) => `${threat} ${what} ${test}`.includes(word));
const chosen = guards.filter(isChosen);
const waiting = chosen.values();
let held = 0;

async function lane(): Promise<void> {
  const copy = await makeCopy();
  try {
    for (const guard of waiting) {
      const { isHeld, text } = await judge(copy, guard);
      if (isHeld) held++;
      console.log(`${isHeld ? "held  " : "FAILED"} ${guard.threat}: ${guard.what} (${guard.test}): ${text}`);
    }
  } finally {
    await copy.close();
  }
}

await Promise.all(Array.from({ length: Math.min(LANES, chosen.length) }, lane));
console.log(`${chosen.length} guards, each taken out once: ${held} held`);
process.exitCode = chosen.length > 0 && held === chosen.length ? 0 : 1;
