import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { bundle } from "../support/builds.ts";
import { freePort } from "../support/global.ts";
import { freshFolder } from "../support/models-launch.ts";

/** What a block has that only its reader can put in, or that not every machine has. */
const NOT_HERE = /…|\.\.\.|example\.com|user:password@|\bdocker\b|\bpg_\w+/;
const TOOLS = ["bash", "curl", "openssl", "sha256sum", "base64", "sed", "tee"];

const readme = readFileSync("README.md", "utf8");
const blocks = [...readme.matchAll(/^```sh\n([\s\S]*?)^```/gm)].map(([, text = ""]) => text);
const pasted = blocks.filter((text) => !NOT_HERE.test(text));

const missing = TOOLS.filter((tool) => !hasTool(tool));
if (missing.length > 0) console.warn(`SKIPPED: the README's blocks want ${missing.join(", ")}`);

function hasTool(tool: string): boolean {
  try {
    execFileSync("sh", ["-c", `command -v ${tool}`]);
    return true;
  } catch {
    return false;
  }
}

/** `npm` with everything in place already: it starts the service as it is bundled, and runs its commands. */
async function npmIn(folder: string): Promise<string> {
  const parley = `exec "${process.execPath}" "${await bundle()}"`;
  const script = `#!/bin/sh
if [ "$1" = run ]; then shift; fi
if [ "$1" = --silent ]; then shift; fi
case "$1" in
  start) echo $$ >"$HOME/npm.pid"; ${parley} ;;
  token | doctor | backup) name=$1; shift; if [ "$1" = -- ]; then shift; fi; ${parley} "$name" "$@" ;;
esac
`;
  const bin = join(folder, "bin");
  mkdirSync(bin);
  writeFileSync(join(bin, "npm"), script);
  chmodSync(join(bin, "npm"), 0o755);
  return bin;
}

/** The blocks as one session: what serves in the foreground does so beside it, and has ended before another is started. */
function sessionOf(texts: readonly string[]): string {
  const shown = texts.map((text) => {
    const isBehind = /npm start &/.test(text);
    const commands = text.replace(/npm start$/gm, "npm start & SHOWN=$!\nready");
    return `${isBehind || commands !== text ? "stop\n" : ""}${commands}`;
  });
  return `set -e
ready() { curl -s -o /dev/null --retry 60 --retry-delay 1 --retry-connrefused localhost:8000/health/ready; }
stop() { if [ -n "$SHOWN" ]; then kill $(cat "$HOME/npm.pid"); wait $SHOWN; SHOWN=; fi; }
${shown.join("\n")}
stop
echo "the end"
`;
}

it.skipIf(missing.length > 0)(
  "the README's blocks run as they are pasted, one after the other",
  async () => {
    expect(pasted.length).toBeGreaterThan(blocks.length / 2);
    const folder = freshFolder();
    const port = String(await freePort());
    const PATH = `${await npmIn(folder)}:${process.env["PATH"]}`;
    const env = { PATH, PORT: port, HOME: folder, LOG_LEVEL: "warn" };
    const child = spawn("bash", ["-s"], { cwd: folder, env, stdio: ["pipe", "pipe", "pipe"], detached: true });
    onTestFinished(() => {
      if (child.exitCode === null && child.pid) process.kill(-child.pid, "SIGKILL");
    });
    const printed = { out: "", error: "" };
    child.stdout.on("data", (data) => (printed.out += data));
    child.stderr.on("data", (data) => (printed.error += data));
    child.stdin.end(sessionOf(pasted).replaceAll("localhost:8000", `localhost:${port}`));
    const [code] = await once(child, "close");
    expect([code, printed.error], printed.out).toEqual([0, ""]);
    expect(printed.out).toMatch(/\nthe end\n$/);
    const refusals = [...printed.out.matchAll(/"code":"(\w+)"/g)].map(([, name]) => name);
    expect([...new Set(refusals)]).toEqual(["turn_finished"]); // which a block says that it may be
    expect(printed.out).not.toMatch(/[}\]]\{"/); // every answer ends its line
  },
  120_000,
);
