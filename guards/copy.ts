import { spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import postgres from "postgres";
import type { ProvidedContext } from "vitest";
import { BUILT } from "../tests/support/builds.ts";
import { setup } from "../tests/support/global.ts";
import type { Guard } from "./guard.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const COPIED = ["src", "tests", "build", "drizzle", "package.json", "package-lock.json", "tsconfig.json"];
const LONGEST_RUN_MS = 300_000;

/** The tests that failed, `passed` where none did and some ran, `broken` where the file did not run to its end. */
export type Ran = "passed" | "broken" | readonly string[];

/** A copy of the sources, in which tests can be run; a run that is broken off leaves no guard out of the real ones. */
export type Copy = { folder: string; run(guard: Guard): Promise<Ran>; close(): Promise<void> };

/** Makes a copy with a Postgres of its own, which all its runs share: that is most of what a run would cost. */
export async function makeCopy(): Promise<Copy> {
  const folder = mkdtempSync(join(tmpdir(), "parley-guards-"));
  for (const name of COPIED) cpSync(join(root, name), join(folder, name), { recursive: true });
  symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
  const provided: Partial<ProvidedContext> = {};
  const teardown = await setup({ provide: (name, value) => void Object.assign(provided, { [name]: value }) });
  writeFileSync(join(folder, "vitest.config.ts"), configWith(provided));
  return {
    folder,
    async run(guard) {
      for (const name of BUILT) rmSync(join(String(provided.folder), name), { recursive: true, force: true });
      return runTest(folder, guard).finally(() => dropDatabases(String(provided.postgresUrl)));
    },
    async close() {
      await teardown();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** The tests' own configuration, without what they set up for themselves. */
function configWith(provide: Partial<ProvidedContext>): string {
  const text = readFileSync(join(root, "vitest.config.ts"), "utf8");
  return text.replace(/globalSetup: .*/, `provide: ${JSON.stringify(provide)},`);
}

type Assertion = { status: string; fullName: string };
type Report = { numPassedTests: number; testResults: { assertionResults: Assertion[] }[] };

async function runTest(folder: string, { test, name }: Guard): Promise<Ran> {
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

async function dropDatabases(url: string): Promise<void> {
  const admin = postgres(`${url}postgres`, { max: 1, onnotice: () => {} });
  const found = await admin.unsafe("select datname from pg_database where datname like 't\\_%'");
  for (const { datname } of found) await admin.unsafe(`drop database ${datname} with (force)`);
  await admin.end();
}
