import type { AskName } from "./asks.ts";
import type { Load } from "./driver.ts";
import { options } from "./options.ts";
import { inRounds, over, printHead, printRow } from "./rounds.ts";
import { type DatabaseName, here, type Stage } from "./stage.ts";

/** One server under one name, the least that could do the same, and what else it is held against. */
export type Contender = { name: string; url: string; pid: number; ask: AskName; floor?: Contender; beside?: Contender };

/** Parley on one runtime over one database, which is as durable as the floor unless something else is said. */
export async function startParley(
  { processes, provider, runtimes }: Stage,
  { runtime, databaseUrl, manner = "at-once", env = {} }: Parley,
) {
  return processes.start(runtimes[runtime] ?? [], {
    PORT: "0",
    DATABASE_URL: databaseUrl,
    OPENAI_BASE_URL: await provider(manner),
    SQLITE_SYNCHRONOUS: "normal",
    BUN_CONFIG_MAX_HTTP_REQUESTS: "65336", // Bun makes 256 requests at once by itself
    ...env,
  });
}

type Parley = { runtime: string; databaseUrl: string; manner?: string; env?: Record<string, string> };

export async function startFloor({ processes, provider }: Stage, databaseUrl: string, manner = "at-once") {
  return processes.start([process.execPath, here("floor.ts"), databaseUrl, await provider(manner)]);
}

type Loaded = { database: DatabaseName; clients: readonly number[]; contenders: readonly Contender[]; spread?: number };

const columns = [
  ...["", "clients", "a second", "of the floor", "of another", "p50 ms", "p99 ms"],
  ...["first p50 ms", "p99 ms", "over the provider p50 ms", "p99 ms", "CPU µs"],
];

/** Drives each contender with so many clients at once, and prints a row each. */
export async function compare(stage: Stage, { database, clients, contenders, spread = 0 }: Loaded): Promise<void> {
  printHead(columns);
  const driven = new Set<Contender>();
  for (const count of options.clients.length > 0 ? options.clients : clients) {
    const rounds = await inRounds(options.rounds, contenders, async (contender) => {
      const load = await drive(stage, contender, { clients: count, spread, warmup: warmupOf(driven.has(contender)) });
      driven.add(contender);
      console.error(`${database}, ${contender.name}, ${count} clients: ${load.rate.toFixed(0)} a second`);
      return load;
    });
    for (const contender of contenders) report({ database, count, contenders, rounds }, contender);
  }
}

const COLD = 3;
const warmupOf = (isWarm: boolean) => options.warmup * (isWarm ? 1 : COLD);

type More = {
  clients: number;
  warmup?: number;
  seconds?: number;
  conversations?: string;
  turns?: number;
  spread?: number;
};

/** One load on one server, from a process of its own. */
export async function drive({ processes }: Stage, { url, pid, ask }: Omit<Contender, "name">, more: More) {
  const { seconds, turns } = options;
  const all = Object.entries({ url, pid, ask, seconds, turns, ...more }).map(([key, value]) => `--${key}=${value}`);
  const load: Load = JSON.parse(await processes.run([process.execPath, here("driver.ts"), ...all]));
  return load;
}

type Round = Map<Contender, Load>;
type Compared = Omit<Loaded, "clients" | "spread"> & { count: number; rounds: readonly Round[] };

function report({ database, count, contenders, rounds }: Compared, contender: Contender): void {
  const provider = contenders.find(({ ask }) => ask === "provider");
  const of = (round: Round, key: keyof Load, who: Contender | undefined) =>
    (who && round.get(who)?.[key]) ?? Number.NaN;
  const figure = (key: keyof Load, digits: number) => over(rounds, (round) => of(round, key, contender), digits);
  const added = (key: keyof Load) => over(rounds, (round) => of(round, key, contender) - of(round, key, provider), 2);
  const { beside } = contender;
  const ratio = (other: Contender | undefined) =>
    over(rounds, (round) => of(round, "rate", contender) / of(round, "rate", other), 2);
  printRow([
    `${database}, ${contender.name}`,
    count,
    figure("rate", 0),
    ratio(contender.floor),
    beside ? `${ratio(beside)} of ${beside.name}` : "",
    ...[figure("p50", 2), figure("p99", 2), figure("first50", 2), figure("first99", 2)],
    ...[added("first50"), added("first99"), figure("cpu", 0)],
  ]);
}
