import { spawn } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { inject, onTestFinished } from "vitest";
import { commandOf, type Runtime } from "./service.ts";

export type Launched = {
  url: string;
  /** Every line that it wrote, as it stands. */
  lines: string[];
  /** Whether what it writes to its standard output is taken from it. */
  read(on: boolean): void;
  signal(signal: "SIGTERM" | "SIGINT" | "SIGUSR2"): void;
  /** The exit code, or the signal that it died of; null while it runs. */
  exitCode(): number | string | null;
  /** POSTs JSON, or GETs where there is none. */
  call(path: string, body?: unknown, headers?: Record<string, string>): Promise<Response>;
};

/** An empty folder for one test, in this run's. */
export const freshFolder = (): string => mkdtempSync(join(inject("folder"), "cwd-"));

/** The service in a folder of its own, of any log format, with these variables alone; it is gone when the test is over. */
export async function launchIn(cwd: string, runtime: Runtime, env: Record<string, string>): Promise<Launched> {
  const [command, args] = await commandOf(runtime);
  const child = spawn(command, args, {
    cwd,
    env: { PATH: process.env["PATH"], PORT: "0", DRAIN_NOTICE_MS: "0", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  const lines: string[] = [];
  const url = await new Promise<string>((resolve, reject) => {
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream }).on("line", (line) => {
        lines.push(line);
        const found = line.includes("Parley is listening") && /http:\/\/[^\s"]+/.exec(line)?.[0];
        if (found) resolve(found);
      });
    }
    child.on("exit", () => reject(new Error(`it did not start:\n${lines.join("\n")}`)));
  });
  return {
    url,
    lines,
    read: (on) => (on ? child.stdout.resume() : child.stdout.pause()),
    signal: (signal) => child.kill(signal),
    exitCode: () => child.exitCode ?? child.signalCode,
    call: (path, body, headers = {}) =>
      fetch(url + path, {
        ...(body !== undefined && { method: "POST", body: JSON.stringify(body) }),
        headers: { "content-type": "application/json", ...headers },
      }),
  };
}
