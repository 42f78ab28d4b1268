import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { bundle } from "./contenders.ts";
import { createProcesses, type Processes } from "./processes.ts";

// How long a message takes to reach everybody who watches its session: from the start of its POST, and from the answer,
// to each reader; beside a bare server that writes as many bytes to as many sockets, in the same run.

const { values: given } = parseArgs({
  options: { readers: { type: "string", default: "1000" }, messages: { type: "string", default: "60" } },
});
const readers = Number(given.readers);
const messages = Number(given.messages);
/** The first messages of a process, while it grows warm. */
const WARM_UP = 10;
/** Between two messages, in milliseconds. */
const PAUSE_MS = 50;
const root = fileURLToPath(new URL("..", import.meta.url));
const here = (name: string) => fileURLToPath(new URL(name, import.meta.url));
const bun = join(root, "node_modules/bun/bin/bun.exe");
const now = () => Number(process.hrtime.bigint()) / 1e6;

type Subject = { name: string; url: string; path: string; send(content: string): Promise<unknown> };

async function main(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "parley-fanout-"));
  chmodSync(folder, 0o755); // Postgres does not run as root: its own user has to get in
  const interrupted = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => interrupted.abort(new Error(signal)));
  const processes = createProcesses(folder, interrupted.signal);
  try {
    console.log(
      `| ${messages} messages to ${readers} readers | from the POST: p50 | p99 | from its answer: p50 | p99 |`,
    );
    console.log("|---|---:|---:|---:|---:|");
    const floor = await floorOf(processes);
    console.log(await measure(floor));
    for (const start of parleys(processes, folder)) console.log(await measure(await start()));
    console.log(await measure({ ...floor, name: "the bare server, again" }));
  } finally {
    await processes.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

const post = async (url: string, body: string, type = "application/json"): Promise<string> => {
  const response = await fetch(url, { method: "POST", headers: { "content-type": type }, body });
  if (!response.ok) throw new Error(`${response.status}: ${await response.text()}`);
  return response.text();
};

async function floorOf(processes: Processes): Promise<Subject> {
  const { url } = await processes.start([process.execPath, here("fanout-floor.ts")]);
  const send = (content: string) => post(url, `event: message\ndata: ${content}${"x".repeat(1_000)}\n\n`, "text/plain");
  return { name: "a bare server", url, path: "/", send };
}

function parleys(processes: Processes, folder: string): (() => Promise<Subject>)[] {
  const file = bundle(folder);
  const runtimes = {
    Node: [process.execPath, "--enable-source-maps", file],
    Bun: [bun, "--no-env-file", join(root, "src/main.ts")],
  };
  let postgres: Promise<{ url: string }> | undefined;
  const databases = {
    SQLite: async (runtime: string) => `sqlite:///${join(folder, `${runtime}.db`)}`,
    Postgres: async (runtime: string) => {
      postgres ??= processes.start([process.execPath, here("postgres.ts"), join(folder, "postgres")]);
      return `${(await postgres).url}fanout_${runtime.toLowerCase()}`;
    },
  };
  return Object.entries(databases).flatMap(([database, fresh]) =>
    Object.entries(runtimes).map(([runtime, command]) => async () => {
      const env = { PORT: "0", DATABASE_URL: await fresh(runtime) };
      const { url } = await processes.start(command, env);
      const { id } = JSON.parse(await post(`${url}/api/v1/sessions`, "{}"));
      const send = (content: string) =>
        post(
          `${url}/api/v1/sessions/${id}/messages`,
          JSON.stringify({ content, sender_type: "agent", sender_id: "grace" }),
        );
      return { name: `Parley on ${runtime}, ${database}`, url, path: `/api/v1/sessions/${id}/events`, send };
    }),
  );
}

type Heard = { open: number } | { message: number; times: number[] };

async function measure({ name, url, path, send }: Subject): Promise<string> {
  const { hostname, port } = new URL(url);
  const child = fork(here("fanout-readers.ts"), [hostname, port, path, String(readers)], { stdio: "inherit" });
  try {
    await heardBy(child, (heard) => "open" in heard);
    const fromStart: number[] = [];
    const fromAnswer: number[] = [];
    for (let i = 0; i < WARM_UP + messages; i++) {
      const whole = heardBy(child, (heard) => "message" in heard && heard.message === i);
      const started = now();
      await send(`<m${i}> ${"Lorem ipsum dolor sit amet. ".repeat(8)}`);
      const answered = now();
      const heard = await whole;
      const times = "times" in heard && i >= WARM_UP ? heard.times : [];
      for (const time of times) {
        fromStart.push(time - started);
        fromAnswer.push(Math.max(0, time - answered));
      }
      await sleep(PAUSE_MS);
    }
    const figures = [fromStart, fromAnswer].flatMap((all) => [quantile(all, 0.5), quantile(all, 0.99)]);
    return `| ${name} | ${figures.map((ms) => `${ms.toFixed(0)} ms`).join(" | ")} |`;
  } finally {
    child.kill();
  }
}

async function heardBy(child: ChildProcess, isIt: (heard: Heard) => boolean): Promise<Heard> {
  for (;;) {
    const [heard] = (await once(child, "message")) as [Heard];
    if (isIt(heard)) return heard;
  }
}

function quantile(values: number[], q: number): number {
  const sorted = values.toSorted((one, other) => one - other);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? Number.NaN;
}

await main();
