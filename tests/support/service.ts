import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { inject } from "vitest";
import type { Patience } from "../../src/listen.ts";
import { bodyOf, type Called, read } from "./app.ts";

export type Runtime = "node" | "bun";

export type Service = {
  url: string;
  /** Every line that it logged. */
  logged: string[];
  call(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Called>;
  /** Sends a signal and waits for the end; gives the exit code. */
  end(signal?: "SIGTERM" | "SIGKILL" | "SIGINT"): Promise<number | null>;
};

const root = fileURLToPath(new URL("../..", import.meta.url));
const bun = join(root, "node_modules/bun/bin/bun.exe");

/** The service as `npm start` and `npm run start:bun` run it, on a free port; resolves once it listens. */
export const startService = (runtime: Runtime, env: Record<string, string>): Promise<Service> =>
  listening(launch(runtime, { PORT: "0", LOG_FORMAT: "json", ...env }));

/** The same with less patience for its clients. */
export function startImpatient(runtime: Runtime, patience: Patience, env: Record<string, string>): Promise<Service> {
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
  const child = launch(runtime, env, cwd);
  let output = "";
  child.stdout?.on("data", (data) => (output += data));
  child.stderr?.on("data", (data) => (output += data));
  const [code] = await once(child, "close");
  return { code: Number(code), output };
}

function launch(runtime: Runtime, env: Record<string, string>, cwd = inject("folder")): ChildProcess {
  const [command, args] =
    runtime === "node" ? [process.execPath, [inject("bundle")]] : [bun, ["--no-env-file", join(root, "src/main.ts")]];
  return spawn(command, args, { cwd, env: { PATH: process.env["PATH"], ...env }, stdio: ["ignore", "pipe", "pipe"] });
}

async function end(child: ChildProcess, signal: "SIGTERM" | "SIGKILL" | "SIGINT"): Promise<number | null> {
  if (child.exitCode === null && child.signalCode === null) {
    const ended = once(child, "exit");
    child.kill(signal);
    await ended;
  }
  return child.exitCode;
}
