import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { parseArgs } from "node:util";
import { type Ask, type AskName, asks } from "./asks.ts";
import { cpuOf } from "./proc.ts";
import { quantile } from "./rounds.ts";

// Clients on connections of their own, each of which asks again as soon as it is answered.

/**
 * What one load on one server came to; times in milliseconds, `first` until the model's text began (whole answers else),
 * `cpu` in microseconds of the server's process an answer.
 */
export type Load = { rate: number; p50: number; p99: number; first50: number; first99: number; cpu: number };

const { values: given } = parseArgs({
  options: {
    url: { type: "string", default: "" },
    pid: { type: "string", default: "0" },
    clients: { type: "string", default: "64" },
    warmup: { type: "string", default: "2" },
    seconds: { type: "string", default: "4" },
    turns: { type: "string", default: "16" },
    /** A file with the ids of conversations to go through, each once, in place of new ones; then it is over. */
    conversations: { type: "string", default: "" },
    ask: { type: "string", default: "turn" },
    /** Milliseconds over which the clients begin: people do not come in step. */
    spread: { type: "string", default: "0" },
  },
});
const { hostname, port, pathname } = new URL(given.url);
const turnsPerConversation = Number(given.turns);
const LATE_MS = 30_000;
const stored: string[] | null = given.conversations ? JSON.parse(readFileSync(given.conversations, "utf8")) : null;
const asked: Ask = asks[given.ask as AskName];

let latencies: number[] = [];
let firsts: number[] = [];
let over = false;

/** Asks until it is over; a new conversation every so many turns, so that each server reads contexts of the same length. */
function runClient(): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: hostname, port: Number(port), noDelay: true }).setEncoding("latin1");
    let held = "";
    let turns = 0;
    let conversation: string | undefined;
    let since = 0;
    let first = 0;

    function ask() {
      if (turnsPerConversation > 0 && turns % turnsPerConversation === 0) conversation = stored?.pop();
      if (stored && conversation === undefined) return leave();
      turns++;
      first = 0;
      since = performance.now();
      socket.write(requestFor(conversation));
    }

    function leave() {
      socket.removeAllListeners("close").destroy();
      resolve();
    }

    socket.on("connect", ask);
    socket.on("error", reject);
    socket.on("close", () => reject(new Error(`the server closed a connection after ${turns} turns: ${held}`)));
    socket.on("data", (text) => {
      held += text;
      if (first === 0 && asked.first && held.includes(asked.first)) first = performance.now() - since;
      if (!isWhole(held)) return;
      const took = performance.now() - since;
      latencies.push(took);
      firsts.push(first || took);
      if (!isRight(held)) return reject(new Error(`no such answer was wanted: ${held}`));
      conversation ??= /"conversation_id":"([^"]+)"/.exec(held)?.[1];
      held = "";
      if (over) leave();
      else ask();
    });
  });
}

function requestFor(conversation: string | undefined): string {
  const path = asked.path.replace("{id}", conversation ?? "");
  const head = `${asked.method} ${pathname === "/" ? "" : pathname}${path} HTTP/1.1\r\nhost: ${hostname}:${port}\r\n`;
  if (!asked.body) return `${head}\r\n`;
  const body = JSON.stringify(asked.body(conversation));
  return `${head}content-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
}

function isWhole(text: string): boolean {
  if (text.endsWith("\r\n0\r\n\r\n")) return true;
  const head = text.indexOf("\r\n\r\n");
  if (head === -1) return false;
  const length = /\r\ncontent-length: *(\d+)/i.exec(text.slice(0, head))?.[1];
  return length !== undefined && text.length >= head + 4 + Number(length);
}

const isRight = (text: string) => /^HTTP\/1\.1 20[01] /.test(text) && text.includes(asked.expected);

const pause = (seconds: number) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

async function measure(): Promise<Load> {
  const count = Number(given.clients);
  const begin = (_: unknown, i: number) => pause(((i / count) * Number(given.spread)) / 1000).then(runClient);
  const clients = Promise.all(Array.from({ length: count }, begin));
  await Promise.race([clients, pause(Number(given.warmup))]);
  [latencies, firsts] = [[], []];
  const pid = Number(given.pid);
  const cpuBefore = cpuOf(pid);
  const started = performance.now();
  await Promise.race([clients, pause(Number(given.seconds))]);
  const rate = latencies.length / ((performance.now() - started) / 1000);
  const cpu = ((cpuOf(pid) - cpuBefore) / latencies.length) * 1e6;
  const [p50, p99] = [quantile(latencies, 0.5), quantile(latencies, 0.99)];
  const [first50, first99] = [quantile(firsts, 0.5), quantile(firsts, 0.99)];
  over = true;
  setTimeout(() => fail("the last turns were never answered"), LATE_MS).unref();
  await clients;
  return { rate, p50, p99, first50, first99, cpu };
}

function fail(reason: unknown): never {
  console.error(reason instanceof Error ? reason.message : reason);
  process.exit(1);
}

console.log(JSON.stringify(await measure().catch(fail)));
