import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

const STOP_MS = 10_000;

export type Running = { pid: number; url: string };

/** Processes that end with the run, however it ends. */
export type Processes = {
  /** Starts a server and waits for the line on its stdout that names its url; what it prints then is thrown away. */
  start(command: readonly string[], env?: Record<string, string>): Promise<Running>;
  /** Runs a command to its end and gives what it printed. Throws where it fails. */
  run(command: readonly string[]): Promise<string>;
  /** Ends all, the newest first. */
  stop(): Promise<void>;
};

export function createProcesses(cwd: string, signal: AbortSignal): Processes {
  const children: ChildProcess[] = [];
  process.on("exit", () => {
    for (const child of children) child.kill();
  });

  function launch([program = "", ...args]: readonly string[], env: Record<string, string> = {}) {
    signal.throwIfAborted();
    const child = spawn(program, args, {
      cwd,
      env: { PATH: process.env["PATH"], DRAIN_NOTICE_MS: "0", ...env },
      stdio: ["ignore", "pipe", "inherit"],
    });
    children.push(child);
    return child;
  }

  return {
    async start(command, env) {
      const child = launch(command, env);
      const url = await untilAborted(signal, urlOf(child, command.join(" ")));
      return { pid: child.pid ?? 0, url };
    },
    async run(command) {
      const child = launch(command);
      let output = "";
      child.stdout.on("data", (bytes) => {
        output += bytes;
      });
      const [code] = await untilAborted(signal, once(child, "close"));
      if (code !== 0) throw new Error(`${command.join(" ")} ended with ${code}: ${output}`);
      return output;
    },
    async stop() {
      for (const child of children.toReversed()) await end(child);
    },
  };
}

function urlOf(child: ChildProcess & { stdout: NonNullable<ChildProcess["stdout"]> }, name: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const lines = createInterface({ input: child.stdout });
    lines.on("line", (line) => {
      const url = /"url":"([^"]+)"/.exec(line)?.[1];
      if (!url) return;
      lines.close();
      child.stdout.resume();
      resolve(url);
    });
    child.on("error", reject);
    child.on("exit", (code) => reject(new Error(`${name} ended with ${code} before it listened`)));
  });
}

async function end(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  const late = setTimeout(() => child.kill("SIGKILL"), STOP_MS);
  child.kill();
  await ended;
  clearTimeout(late);
}

async function untilAborted<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  const aborted = Promise.withResolvers<never>();
  const abort = () => aborted.reject(signal.reason);
  signal.addEventListener("abort", abort);
  try {
    return await Promise.race([work, aborted.promise]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}
