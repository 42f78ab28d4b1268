import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { inject } from "vitest";
import type { Patience } from "../../src/listen.ts";
import { bodyOf, type Called, read } from "./app.ts";
import { binary, bundle } from "./builds.ts";

/** `binary` is Bun in one file with the service. */
export type Runtime = "node" | "bun" | "binary";

export type Service = {
  url: string;
  pid: number;
  /** Every line that it logged. */
  logged: string[];
  call(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Called>;
  /** Sends a signal and waits for the end; gives the exit code. */
  end(signal?: "SIGTERM" | "SIGKILL" | "SIGINT"): Promise<number | null>;
};

const root = fileURLToPath(new URL("../..", import.meta.url));
const bun = join(root, "node_modules/bun/bin/bun.exe");

/** The service on a free port, run by another command where one is named; resolves once it listens. */
export const startService = async (
  runtime: Runtime,
  env: Record<string, string>,
  by: string[] = [],
): Promise<Service> =>
  listening(await launch(runtime, { env: { PORT: "0", LOG_FORMAT: "json", DRAIN_NOTICE_MS: "0", ...env }, by }));

/** The same with less patience for its clients. */
export function startImpatient(
  runtime: "node" | "bun",
  patience: Patience,
  env: Record<string, string>,
): Promise<Service> {
  const [command, flags] = runtime === "node" ? [process.execPath, []] : [bun, ["--no-env-file"]];
  const args = [...flags, join(root, "tests/support/slow-child.ts"), JSON.stringify({ env, patience })];
  const options = { cwd: inject("folder"), env: { PATH: process.env["PATH"] } };
  return listening(spawn(command, args, { ...options, stdio: ["ignore", "pipe", "pipe"] }));
}

async function listening(child: ChildProcess): Promise<Service> {
  const logged: string[] = [];
  const url = await new Promise<string>((resolve, reject) => {
    for (const stream of [child.stdout, child.stderr]) {
      if (!stream) continue;
      createInterface({ input: stream }).on("line", (line) => {
        logged.push(line);
        const found = /"url":"([^"]+)"/.exec(line)?.[1];
        if (found) resolve(found);
      });
    }
    child.on("exit", () => reject(new Error(`it did not start:\n${logged.join("\n")}`)));
  });
  return {
    url,
    pid: child.pid ?? 0,
    logged,
    async call(method, path, body, headers = {}) {
      const typed = body === undefined ? {} : { "content-type": "application/json" };
      const init = { method, headers: { ...typed, ...headers }, ...(body !== undefined && { body: bodyOf(body) }) };
      return read(await fetch(url + path, init));
    },
    end: (signal = "SIGTERM") => end(child, signal),
  };
}

/** Runs it to its end, for a start that is refused; gives its exit code and what it printed. */
export async function runToEnd(runtime: Runtime, env: Record<string, string>, cwd?: string) {
  const { code, out, error } = await runCommand(runtime, [], { env, ...(cwd && { cwd }) });
  return { code, output: out + error };
}

/** Runs `parley …` to its end, with these variables alone. */
export async function runCommand(runtime: Runtime, args: string[], launched: Launch) {
  const child = await launch(runtime, launched, args);
  const printed = { out: "", error: "" };
  child.stdout?.on("data", (data) => (printed.out += data));
  child.stderr?.on("data", (data) => (printed.error += data));
  const [code] = await once(child, "close");
  return { code: Number(code), ...printed };
}

/** How the service is run, as `npm start`, `npm run start:bun` and `dist/parley` run it. */
export async function commandOf(runtime: Runtime): Promise<[command: string, args: string[]]> {
  if (runtime === "node") return [process.execPath, [await bundle()]];
  return runtime === "bun" ? [bun, ["--no-env-file", join(root, "src/main.ts")]] : [await binary(), []];
}

type Launch = { env: Record<string, string>; cwd?: string; by?: string[] };

async function launch(runtime: Runtime, launched: Launch, more: string[] = []): Promise<ChildProcess> {
  const { env, cwd = inject("folder"), by = [] } = launched;
  const [command = "", ...args] = [...by, ...(await commandOf(runtime)).flat(), ...more];
  const options = { cwd, env: { PATH: process.env["PATH"], ...env } };
  return spawn(command, args, { ...options, stdio: ["ignore", "pipe", "pipe"] });
}

async function end(child: ChildProcess, signal: "SIGTERM" | "SIGKILL" | "SIGINT"): Promise<number | null> {
  if (child.exitCode === null && child.signalCode === null) {
    const ended = once(child, "exit");
    child.kill(signal);
    await ended;
  }
  return child.exitCode;
}
