import { Agent, request } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { openRaw } from "../tests/support/raw.ts";
import { startParley } from "./contenders.ts";
import { options } from "./options.ts";
import { printHead, printRow, quantile } from "./rounds.ts";
import type { Scenario } from "./stage.ts";

// What clients that stall cost those that do not: requests one after the other, by turns without and with so many
// connections that have sent half of their headers or half of their body.

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

export const stalledScenario: Scenario = {
  name: "stalled",
  async run(stage) {
    const columns = ["median without", "with", "ratio", "p99 without", "with", "ratio"];
    printHead([`ms, beside ${options.stalled} stalled clients`, ...columns]);
    for (const runtime of Object.keys(stage.runtimes)) {
      const databaseUrl = await stage.fresh("SQLite", runtime);
      const { url } = await startParley(stage, { runtime, databaseUrl });
      for (const ask of asks) printRow([`${runtime}, ${ask.name}`, ...(await compare(url, ask))]);
    }
  },
};

async function compare(url: string, ask: Ask): Promise<string[]> {
  await timesOf(url, ask); // the first are slow for other reasons
  const without: number[] = [];
  const beside: number[] = [];
  for (let round = 0; round < options.rounds; round++) {
    without.push(...(await timesOf(url, ask)));
    const stalled = Array.from({ length: options.stalled }, (_, i) => openRaw(url, HALVES[i % HALVES.length]));
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

/** Milliseconds of each of many requests, one after the other over one connection. */
async function timesOf(url: string, ask: Ask): Promise<number[]> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const times: number[] = [];
  for (let i = 0; i < options.requests; i++) {
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
