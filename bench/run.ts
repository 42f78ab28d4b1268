import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { availableParallelism, cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { bundle, type Contender, type DatabaseName, databases, type Stage, startContenders } from "./contenders.ts";
import type { Load } from "./driver.ts";
import { createProcesses, type Processes } from "./processes.ts";

// Turns a second, JSON, by clients that never rest. Rounds are interleaved: in each, every server has the machine to
// itself for a while, and is compared with its database's floor of that round.

const file = (name: string) => fileURLToPath(new URL(name, import.meta.url));

const { values: given } = parseArgs({
  options: {
    seconds: { type: "string", default: "4" },
    warmup: { type: "string", default: "2" },
    rounds: { type: "string", default: "3" },
    clients: { type: "string", default: "64" },
    /** Turns until a client begins a new conversation; 0 never does. */
    turns: { type: "string", default: "16" },
    only: { type: "string", default: "" },
  },
});
const chosen = databases.filter((name) => name.toLowerCase().includes(given.only.toLowerCase()));
const rounds = Number(given.rounds);
const MOST_CONTENDERS = 7;
const SLACK_S = 20; // for the start of a driver, and what it waits for at its end
const COLD = 3; // a server that was never driven is warmed up for so many times as long

async function main(signal: AbortSignal): Promise<void> {
  if (chosen.length === 0) throw new Error(`--only is one of ${databases.join(", ")}`);
  const folder = mkdtempSync(join(tmpdir(), "parley-bench-"));
  chmodSync(folder, 0o755); // Postgres does not run as root: its own user has to get in
  const processes = createProcesses(folder, signal);
  const afterwards: Stage["afterwards"] = [];
  try {
    const machine = `${availableParallelism()} × ${cpus()[0]?.model}, Node ${process.versions.node}`;
    console.log(`${machine}; ${given.clients} clients, rounds of ${given.seconds} s: ${rounds}\n`);
    const provider = await processes.start([process.execPath, file("provider.ts")]);
    const stage = { processes, folder, provider, bundle: bundle(folder), afterwards };
    for (const database of chosen) {
      const contenders = await startContenders(stage, database);
      report(contenders, await measure(processes, contenders), database);
    }
  } finally {
    await processes.stop();
    for (const act of afterwards) await act();
    rmSync(folder, { recursive: true, force: true });
  }
}

type Round = Map<Contender, Load>;

async function measure(processes: Processes, contenders: readonly Contender[]): Promise<Round[]> {
  const done: Round[] = [];
  for (let i = 0; i < rounds; i++) {
    const round: Round = new Map();
    // There and back again, so that what drifts meets all alike.
    for (const contender of i % 2 === 0 ? contenders : contenders.toReversed()) {
      const load = await drive(processes, contender, Number(given.warmup) * (i === 0 ? COLD : 1));
      round.set(contender, load);
      const { database, name } = contender;
      console.error(`round ${i + 1}, ${database}, ${name}: ${load.rate.toFixed(0)} turns/s`);
    }
    done.push(round);
  }
  return done;
}

async function drive(processes: Processes, { url, pid }: Contender, warmup: number): Promise<Load> {
  const { clients, seconds, turns } = given;
  const options = Object.entries({ url, pid, clients, warmup, seconds, turns }).map(
    ([key, value]) => `--${key}=${value}`,
  );
  return JSON.parse(await processes.run([process.execPath, file("driver.ts"), ...options]));
}

function report(contenders: readonly Contender[], done: readonly Round[], database: DatabaseName): void {
  const over = (take: (round: Round) => number) => median(done.map(take));
  const floor = contenders.find((contender) => contender.isFloor);
  if (database === chosen[0]) {
    console.log("| scenario | turns/s | p50 ms | p99 ms | CPU µs/turn | ratio to the floor |");
    console.log("|---|---:|---:|---:|---:|---:|");
  }
  for (const contender of contenders) {
    const figure = (key: keyof Load, digits: number) => over((round) => of(round, key, contender)).toFixed(digits);
    const ratio = over((round) => of(round, "rate", contender) / of(round, "rate", floor)).toFixed(2);
    const figures = [figure("rate", 0), figure("p50", 1), figure("p99", 1), figure("cpu", 0), ratio];
    console.log(`| ${[`${database}, ${contender.name}`, ...figures].join(" | ")} |`);
  }
}

const of = (round: Round, key: keyof Load, who: Contender | undefined) => (who && round.get(who)?.[key]) ?? Number.NaN;

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const half = sorted.length / 2;
  return ((sorted[Math.ceil(half) - 1] ?? Number.NaN) + (sorted[Math.floor(half)] ?? Number.NaN)) / 2;
}

const interrupted = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => interrupted.abort(new Error(`ended by ${signal}`)));
}
const perLoad = Number(given.warmup) * COLD + Number(given.seconds) + SLACK_S;
const late = AbortSignal.timeout((MOST_CONTENDERS * rounds * perLoad + 120) * 1000);
try {
  await main(AbortSignal.any([interrupted.signal, late]));
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
