// Takes each guard of SECURITY.md out, one at a time, and runs the test that is said to hold it: that test must fail.
// `npm run guards`, or `npm run guards -- API1 isolation` for those whose threat, words or test have every word.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Guard, without } from "./guard.ts";
import { guards } from "./list.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const COPIED = ["src", "tests", "drizzle", "docs", "package.json", "package-lock.json", "tsconfig.json"];
const LONGEST_RUN_MS = 180_000;
/** Runs at once. Each has a copy of its own. */
const LANES = 2;

/** A copy of the sources, so that a run that is broken off leaves no guard out. */
function copySources(): string {
  const folder = mkdtempSync(join(tmpdir(), "parley-guards-"));
  for (const name of [...COPIED, "vitest.config.ts"]) cpSync(join(root, name), join(folder, name), { recursive: true });
  symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
  return folder;
}

/** The tests that failed, `passed` where none did and some ran, `broken` where the file did not run to its end. */
type Ran = "passed" | "broken" | readonly string[];

type Assertion = { status: string; fullName: string };
type Report = { numPassedTests: number; testResults: { assertionResults: Assertion[] }[] };

async function run(folder: string, { test, name }: Guard): Promise<Ran> {
  const report = join(folder, "report.json");
  rmSync(report, { force: true });
  const vitest = join(folder, "node_modules/vitest/vitest.mjs");
  const only = name === undefined ? [] : ["-t", name];
  const args = [vitest, "run", test, ...only, "--bail=1", "--reporter=json", `--outputFile=${report}`];
  await once(spawn(process.execPath, args, { cwd: folder, timeout: LONGEST_RUN_MS, stdio: "ignore" }), "exit");
  if (!existsSync(report)) return "broken";
  const { numPassedTests, testResults }: Report = JSON.parse(readFileSync(report, "utf8"));
  const tests = testResults.flatMap(({ assertionResults }) => assertionResults);
  const failed = tests.filter(({ status }) => status === "failed").map(({ fullName }) => fullName);
  if (failed.length > 0) return failed;
  return numPassedTests > 0 ? "passed" : "broken";
}

type Verdict = { isHeld: boolean; text: string };

async function judge(folder: string, guard: Guard): Promise<Verdict> {
  const whole = await greenOnce(folder, guard);
  if (whole !== "passed") return { isHeld: false, text: `fails with the guard in place: ${whole}` };
  const file = join(folder, guard.file);
  const text = readFileSync(file, "utf8");
  writeFileSync(file, without(guard, text));
  const ran = await run(folder, guard).finally(() => writeFileSync(file, text));
  if (ran === "passed") return { isHeld: false, text: "NOT HELD" };
  if (ran === "broken") return { isHeld: false, text: "did not run without the guard" };
  return { isHeld: true, text: `held by "${ran[0]}"` };
}

const green = new Map<string, Promise<Ran>>();

/** Each file is run once with every guard in place, in a copy that has them all at that moment. */
function greenOnce(folder: string, guard: Guard): Promise<Ran> {
  const key = `${guard.test} ${guard.name ?? ""}`;
  const known = green.get(key) ?? run(folder, guard);
  green.set(key, known);
  return known;
}

const words = process.argv.slice(2);
const chosen = guards.filter(({ threat, what, test }) =>
  words.every((word) => `${threat} ${what} ${test}`.includes(word)),
);
const waiting = chosen.values();
let held = 0;

async function lane(): Promise<void> {
  const folder = copySources();
  try {
    for (const guard of waiting) {
      const { isHeld, text } = await judge(folder, guard);
      if (isHeld) held++;
      console.log(`${isHeld ? "held  " : "FAILED"} ${guard.threat}: ${guard.what} (${guard.test}): ${text}`);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

await Promise.all(Array.from({ length: LANES }, lane));
console.log(`${chosen.length} guards, each taken out once: ${held} held`);
process.exitCode = chosen.length > 0 && held === chosen.length ? 0 : 1;
