import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { Agent, request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { startProvider } from "../tests/support/provider.ts";
import { bundle } from "./contenders.ts";
import { createProcesses, type Processes, type Running } from "./processes.ts";

// What an open stream costs in memory: a process before and after so many were opened, beside bare servers that hold as
// many event streams and know nothing else.

const { values: given } = parseArgs({
  options: { streams: { type: "string", default: "1000" }, rounds: { type: "string", default: "3" } },
});
const streams = Number(given.streams);
const root = fileURLToPath(new URL("..", import.meta.url));
const bun = join(root, "node_modules/bun/bin/bun.exe");
/** A process that rests for so long has cleared away what it can, in milliseconds. */
const PAUSE_MS = 5_000;

type Open = { close(): void };
type Scenario = { name: string; running: Running; prepare(): Promise<() => Promise<Open>> };

async function main(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "parley-streams-"));
  const interrupted = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => interrupted.abort(new Error(signal)));
  const processes = createProcesses(folder, interrupted.signal);
  const provider = await startProvider();
  provider.behave(() => ({ text: ["a few words, and then nothing for a while"], afterwards: "stall" }));
  try {
    console.log(`| ${streams} open streams | KiB each, by rounds |\n|---|---:|`);
    for (const scenario of await scenarios(processes, folder, provider.openaiUrl)) {
      const open = await scenario.prepare();
      const figures: string[] = [];
      for (let round = 0; round < Number(given.rounds); round++) figures.push(await measure(scenario.running, open));
      console.log(`| ${scenario.name} | ${figures.join(", ")} |`);
    }
  } finally {
    await processes.stop();
    await provider.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function scenarios(processes: Processes, folder: string, openaiUrl: string): Promise<Scenario[]> {
  const file = bundle(folder);
  const floor = fileURLToPath(new URL("streams-floor.ts", import.meta.url));
  const commands = {
    Node: { parley: [process.execPath, "--enable-source-maps", file], floor: [process.execPath, floor] },
    Bun: { parley: [bun, "--no-env-file", join(root, "src/main.ts")], floor: [bun, floor] },
  };
  const all: Scenario[] = [];
  for (const [runtime, { parley, floor }] of Object.entries(commands)) {
    const start = (name: string) =>
      processes.start(parley, {
        PORT: "0",
        DATABASE_URL: `sqlite:///${join(folder, `${runtime}-${name}.db`)}`,
        OPENAI_BASE_URL: openaiUrl,
        TURN_TIMEOUT_MS: "3600000",
        IDLE_TIMEOUT_MS: "3600000",
        BUN_CONFIG_MAX_HTTP_REQUESTS: "65336", // Bun makes 256 requests at once by itself
      });
    const bare = await processes.start(floor);
    const one = await start("readers");
    const each = await start("turns");
    all.push(
      { name: `floor on ${runtime}`, running: bare, prepare: async () => () => openStream(bare.url, "GET", "/") },
      { name: `Parley on ${runtime}, readers of one turn`, running: one, prepare: () => readersOfOne(one.url) },
      {
        name: `Parley on ${runtime}, a turn each`,
        running: each,
        prepare: async () => () => openStream(each.url, "POST", "/api/chat/send", { message: "hello", stream: true }),
      },
    );
  }
  return all;
}

async function readersOfOne(url: string): Promise<() => Promise<Open>> {
  const { turnId } = await openStream(url, "POST", "/api/chat/send", { message: "hello", stream: true });
  return () => openStream(url, "GET", `/api/v1/turns/${turnId}/stream`);
}

/** Kibibytes a stream. The first streams of a process, which fill its caches, are opened and closed before. */
async function measure({ pid }: Running, open: () => Promise<Open>): Promise<string> {
  for (const one of await many(open, Math.ceil(streams / 5))) one.close();
  await sleep(PAUSE_MS);
  const before = memoryOf(pid);
  const opened = await many(open, streams);
  await sleep(PAUSE_MS);
  const grown = memoryOf(pid) - before;
  for (const one of opened) one.close();
  return (grown / streams).toFixed(1);
}

const many = (open: () => Promise<Open>, times: number) => Promise.all(Array.from({ length: times }, open));

/** Resolves with its first words; over a connection of its own. */
function openStream(url: string, method: string, path: string, body?: object): Promise<Open & { turnId: string }> {
  const headers = body ? { "content-type": "application/json" } : {};
  return new Promise((resolve, reject) => {
    const agent = new Agent({ keepAlive: false });
    const asked = request(url + path, { method, headers, agent }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (part) => {
        text += part;
        if (!text.includes("a few words")) return;
        const turnId = /"turn_id":"([^"]+)"/.exec(text)?.[1] ?? "";
        resolve({ turnId, close: () => response.destroy() });
      });
      response.on("error", () => {});
    });
    asked.on("error", reject);
    asked.end(body && JSON.stringify(body));
  });
}

/** Of the machine's memory, in kibibytes; where Linux tells. */
function memoryOf(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "latin1"))?.[1]);
}

await main();
