import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { parseArgs } from "node:util";
import { ANSWER, QUESTION } from "./traffic.ts";

// Clients on connections of their own, each of which asks again as soon as it is answered.

/** What one load on one server came to; times in milliseconds, `cpu` in microseconds of the server's process a turn. */
export type Load = { rate: number; p50: number; p95: number; p99: number; cpu: number | null };

const { values: given } = parseArgs({
  options: {
    url: { type: "string", default: "" },
    pid: { type: "string", default: "" },
    clients: { type: "string", default: "64" },
    warmup: { type: "string", default: "2" },
    seconds: { type: "string", default: "4" },
    turns: { type: "string", default: "16" },
    /** A file with the ids of conversations to go through, each once, in place of new ones; then it is over. */
    conversations: { type: "string", default: "" },
    ask: { type: "string", default: "turn" },
  },
});
const { hostname, port } = new URL(given.url);
const turnsPerConversation = Number(given.turns);
const LATE_MS = 30_000;
const stored: string[] | null = given.conversations ? JSON.parse(readFileSync(given.conversations, "utf8")) : null;
/** What stands in every answer. */
const expected = given.ask === "turn" ? ANSWER : '"messages":[';

let latencies: number[] = [];
let over = false;

/** Asks until it is over; a new conversation every so many turns, so that each server reads contexts of the same length. */
function runClient(): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: hostname, port: Number(port), noDelay: true }).setEncoding("latin1");
    let held = "";
    let turns = 0;
    let conversation: string | undefined;
    let asked = 0;

    function ask() {
      if (turnsPerConversation > 0 && turns % turnsPerConversation === 0) conversation = stored?.pop();
      if (stored && conversation === undefined) return leave();
      turns++;
      asked = performance.now();
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
      if (!isWhole(held)) return;
      latencies.push(performance.now() - asked);
      if (!held.startsWith("HTTP/1.1 200 ") || !held.includes(expected)) return reject(new Error(`no turn: ${held}`));
      conversation ??= /"conversation_id":"([^"]+)"/.exec(held)?.[1];
      held = "";
      if (over) leave();
      else ask();
    });
  });
}

function requestFor(conversation_id: string | undefined): string {
  if (given.ask === "session")
    return `GET /api/v1/sessions/${conversation_id} HTTP/1.1\r\nhost: ${hostname}:${port}\r\n\r\n`;
  const body = JSON.stringify({ message: QUESTION, conversation_id });
  return `POST /api/chat/send HTTP/1.1\r\nhost: ${hostname}:${port}\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
}

function isWhole(text: string): boolean {
  const head = text.indexOf("\r\n\r\n");
  if (head === -1) return false;
  const length = /\r\ncontent-length: *(\d+)/i.exec(text.slice(0, head))?.[1];
  return length === undefined ? text.endsWith("\r\n0\r\n\r\n") : text.length >= head + 4 + Number(length);
}

/** Seconds of processor time that the server's process has used; NaN where there is no /proc. */
function cpuSeconds(): number {
  try {
    const fields = readFileSync(`/proc/${given.pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
    return (Number(fields[11]) + Number(fields[12])) / 100; // utime and stime, in hundredths everywhere on Linux
  } catch {
    return Number.NaN;
  }
}

const pause = (seconds: number) => new Promise((resolve) => setTimeout(resolve, seconds * 1000).unref());

async function measure(): Promise<Load> {
  const clients = Promise.all(Array.from({ length: Number(given.clients) }, runClient));
  await Promise.race([clients, pause(Number(given.warmup))]);
  latencies = [];
  const cpuBefore = cpuSeconds();
  const started = performance.now();
  await Promise.race([clients, pause(Number(given.seconds))]);
  const rate = latencies.length / ((performance.now() - started) / 1000);
  const cpu = (cpuSeconds() - cpuBefore) / latencies.length;
  const sorted = Float64Array.from(latencies).sort();
  over = true;
  setTimeout(() => fail("the last turns were never answered"), LATE_MS).unref();
  await clients;
  const at = (share: number) => sorted[Math.floor(sorted.length * share)] ?? Number.NaN;
  return { rate, p50: at(0.5), p95: at(0.95), p99: at(0.99), cpu: Number.isNaN(cpu) ? null : cpu * 1e6 };
}

function fail(reason: unknown): never {
  console.error(reason instanceof Error ? reason.message : reason);
  process.exit(1);
}

console.log(JSON.stringify(await measure().catch(fail)));
