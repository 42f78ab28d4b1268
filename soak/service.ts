import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

/** The service on a port that it keeps, over one database, as often as it is started. */
export type Service = {
  readonly url: string;
  /** Starts it; `listening` resolves once it listens, and rejects where it ends before. */
  start(): { listening: Promise<void> };
  /** SIGKILL, and waits until it is gone. */
  kill(): Promise<void>;
  /** What it logged as errors, in all its lives. */
  readonly errors: string[];
};

type Setting = { bundle: string; folder: string; port: number; env: Record<string, string> };

export function createService({ bundle, folder, port, env }: Setting): Service {
  let child: ChildProcess | undefined;
  const errors: string[] = [];
  const url = `http://127.0.0.1:${port}`;

  function start() {
    const started = spawn(process.execPath, [bundle], {
      cwd: folder,
      env: { PORT: String(port), LOG_FORMAT: "json", DRAIN_NOTICE_MS: "0", ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    child = started;
    const listening = new Promise<void>((resolve, reject) => {
      for (const stream of [started.stdout, started.stderr]) {
        createInterface({ input: stream }).on("line", (line) => {
          if (line.includes('"url":"')) resolve();
          if (!line.startsWith("{") || line.includes('"level":"error"') || line.includes('"level":50'))
            errors.push(line);
        });
      }
      started.on("exit", (code, signal) => {
        if (signal !== "SIGKILL") reject(new Error(`the service ended with ${code}:\n${errors.slice(-20).join("\n")}`));
      });
    });
    listening.catch(() => {}); // nobody waits for it where it is killed before it listens
    return { listening };
  }

  process.on("exit", () => child?.kill("SIGKILL"));
  return {
    url,
    errors,
    start,
    async kill() {
      if (!child || child.exitCode !== null || child.signalCode !== null) return;
      const ended = once(child, "exit");
      child.kill("SIGKILL");
      await ended;
    },
  };
}
