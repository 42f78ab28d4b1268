import { execFile } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { inject } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));
const run = promisify(execFile);

/** The file that `npm start` runs on Node. The first test that asks for it bundles it; a run bundles it once. */
export const bundle = (): Promise<string> =>
  buildOnce("dist", "parley.js", async (file) => {
    await runScript("bundle", (command) => command.replace("dist/parley.js", file));
    const packages = join(inject("folder"), "node_modules");
    if (!existsSync(packages)) symlinkSync(join(root, "node_modules"), packages);
  });

/** The file that `npm run build:binary` makes, in a folder of its own: it has to do without everything else. */
export const binary = (): Promise<string> =>
  buildOnce("binary", "parley", (file) => runScript("build:binary", (command) => `${command} --outfile=${file}`));

/** Names in this run's folder that a build leaves behind: without them the next test builds again. */
export const BUILT = ["dist", "dist.done", "binary", "binary.done"];

async function buildOnce(name: string, program: string, build: (file: string) => Promise<void>): Promise<string> {
  const place = join(inject("folder"), name);
  const file = join(place, program);
  const isDone = () => existsSync(`${place}.done`);
  while (!isDone()) {
    if (!takeLock(`${place}.lock`)) {
      await sleep(20); // another worker builds it
      continue;
    }
    try {
      if (isDone()) break;
      await build(file);
      writeFileSync(`${place}.done`, "");
    } finally {
      rmdirSync(`${place}.lock`);
    }
  }
  return file;
}

/** Making a folder succeeds for one of several processes. */
function takeLock(path: string): boolean {
  try {
    mkdirSync(path);
    return true;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "EEXIST") return false;
    throw error;
  }
}

async function runScript(name: string, change: (command: string) => string): Promise<void> {
  const { scripts } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const env = { ...process.env, PATH: `${root}node_modules/.bin:${process.env["PATH"]}` };
  await run("sh", ["-c", change(String(scripts[name]))], { cwd: root, env });
}
