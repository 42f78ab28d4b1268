import { mkdtempSync, rmSync } from "node:fs";
import { Agent, request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { openRaw } from "../tests/support/raw.ts";
import { bundle } from "./contenders.ts";
import { createProcesses } from "./processes.ts";

// What clients that stall cost those that do not: requests one after the other, by turns without and with so many
// connections that have sent half of their headers or half of their body.

const { values: given } = parseArgs({
  options: {
    stalled: { type: "string", default: "500" },
    requests: { type: "string", default: "500" },
    rounds: { type: "string", default: "6" },
  },
});
const root = fileURLToPath(new URL("..", import.meta.url));
const bun = join(root, "node_modules/bun/bin/bun.exe");
const HEAD = "POST /chats HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
const HALVES = [`${HEAD}X-A: a`, `${HEAD}Content-Length: 100\r\n\r\n{"title":`];
/** For connections to be opened and closed, in milliseconds. */
const PAUSE_MS = 500;
const message = JSON.stringify({ message: "Are you there?" });

const asks = [
  { name: "GET /health", method: "GET", path: "/health" },
  { name: "POST /api/chat/send", method: "POST", path: "/api/chat/send" },
] as const;
type Ask = (typeof asks)[number];

async function main(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "parley-stalled-"));
  const interrupted = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => interrupted.abort(new Error(signal)));
  const processes = createProcesses(folder, interrupted.signal);
  const commands = {
    Node: [process.execPath, "--enable-source-maps", bundle(folder)],
    Bun: [bun, "--no-env-file", join(root, "src/main.ts")],
  };
  try {
    console.log(
      `| ms, beside ${given.stalled} stalled clients | median without | with | ratio | p99 without | with | ratio |`,
    );
    console.log("|---|---:|---:|---:|---:|---:|---:|");
    for (const [runtime, command] of Object.entries(commands)) {
      const { url } = await processes.start(command, {
        PORT: "0",
        DATABASE_URL: `sqlite:///${join(folder, `${runtime}.db`)}`,
      });
      for (const ask of asks) console.log(`| ${runtime}, ${ask.name} | ${(await compare(url, ask)).join(" | ")} |`);
    }
  } finally {
    await processes.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function compare(url: string, ask: Ask): Promise<string[]> {
  await timesOf(url, ask); // the first are slow for other reasons
  const without: number[] = [];
  const beside: number[] = [];
  for (let round = 0; round < Number(given.rounds); round++) {
    without.push(...(await timesOf(url, ask)));
    const stalled = Array.from({ length: Number(given.stalled) }, (_, i) => openRaw(url, HALVES[i % HALVES.length]));
    await sleep(PAUSE_MS);
    beside.push(...(await timesOf(url, ask)));
    if (stalled.some(({ socket }) => socket.readyState !== "open")) throw new Error("not all of them were stalled");
    for (const { socket } of stalled) socket.destroy();
    await sleep(PAUSE_MS);
  }
  return [0.5, 0.99].flatMap((part) => {
    const [alone, among] = [quantile(without, part), quantile(beside, part)];
    return [alone.toFixed(2), among.toFixed(2), (among / alone).toFixed(2)];
  });
}

function quantile(times: readonly number[], part: number): number {
  const sorted = times.toSorted((a, b) => a - b);
  return sorted[Math.floor(part * (sorted.length - 1))] ?? Number.NaN;
}

/** Milliseconds of each of many requests, one after the other over one connection. */
async function timesOf(url: string, ask: Ask): Promise<number[]> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const times: number[] = [];
  for (let i = 0; i < Number(given.requests); i++) {
    const began = performance.now();
    await send(url, ask, agent);
    times.push(performance.now() - began);
  }
  agent.destroy();
  return times;
}

function send(url: string, { method, path }: Ask, agent: Agent): Promise<void> {
  const headers = method === "POST" ? { "content-type": "application/json" } : {};
  return new Promise((resolve, reject) => {
    const asked = request(url + path, { method, agent, headers }, (response) => {
      response.resume().on("end", () => {
        if (response.statusCode === 200) resolve();
        else reject(new Error(`${method} ${path} was answered ${response.statusCode}`));
      });
    });
    asked.on("error", reject);
    asked.end(method === "POST" ? message : undefined);
  });
}

await main();
