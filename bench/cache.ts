import { randomUUID } from "node:crypto";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { createClient } from "@redis/client";
import postgres from "postgres";
import { freePort } from "../tests/support/global.ts";
import { bundle, freshPostgres, type Stage } from "./contenders.ts";
import { cpuOf, storesCpu } from "./cpu.ts";
import type { Load } from "./driver.ts";
import { createProcesses, type Processes, type Running } from "./processes.ts";

// What a Redis is worth beside Postgres: the same turns, and the same reads of a session, on two services that differ in
// REDIS_URL alone. Each load goes through conversations that were written for it, so all begin with the same length and
// with nothing kept.

const file = (name: string) => fileURLToPath(new URL(name, import.meta.url));

const { values: given } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
    messages: { type: "string", default: "10,50,500" },
    clients: { type: "string", default: "16,64" },
    /** Conversations of a load, and turns in each. */
    conversations: { type: "string", default: "256" },
    turns: { type: "string", default: "10" },
    characters: { type: "string", default: "500" },
    model: { type: "string", default: "" },
  },
});
const rounds = Number(given.rounds);
const numbers = (list: string) => list.split(",").map(Number);
const asks = ["turn", "session"] as const;
const columns = [
  "ask",
  "messages",
  "clients",
  "",
  "a second",
  "ratio",
  "p50 ms",
  "p99 ms",
  "CPU µs: service",
  "stores",
  "found %",
];
const LATE_MS = 3_600_000;

type Contender = { name: string; databaseUrl: string; service: Running };
type Scenario = { ask: (typeof asks)[number]; messages: number; clients: number };
/**
 * Processor time in microseconds an answer: of the service, and of Postgres and Redis together; and how many answers in a
 * hundred found something kept: on a busy machine Redis is not waited for.
 */
type Figures = Pick<Load, "rate" | "p50" | "p99"> & { service: number; stores: number; found: number };

async function main(signal: AbortSignal): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "parley-bench-"));
  chmodSync(folder, 0o755);
  const processes = createProcesses(folder, signal);
  const afterwards: Stage["afterwards"] = [];
  try {
    console.log(`${availableParallelism()} × ${cpus()[0]?.model}, Node ${process.versions.node}`);
    console.log(`${given.conversations} conversations a load, ${given.turns} asks each; rounds: ${rounds}\n`);
    const provider = await processes.start([process.execPath, file("provider.ts")]);
    const stage = { processes, folder, provider, bundle: bundle(folder), afterwards };
    const fresh = await freshPostgres(stage);
    const redis = await startRedis(processes);
    const contenders = [
      await start(stage, "Postgres alone", await fresh("alone")),
      await start(stage, "with Redis", await fresh("redis"), redis.url),
    ];
    const scenarios = asks.flatMap((ask) =>
      numbers(given.messages).flatMap((messages) =>
        numbers(given.clients).map((clients) => ({ ask, messages, clients })),
      ),
    );
    console.log(`| ${columns.join(" | ")} |\n|${"---|".repeat(columns.length)}`);
    for (const scenario of scenarios)
      report(scenario, contenders, await measure({ processes, contenders, redis, folder }, scenario));
  } finally {
    await processes.stop();
    for (const act of afterwards) await act();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function startRedis(processes: Processes): Promise<Running> {
  const port = await freePort();
  const script = `echo '"url":"redis://127.0.0.1:${port}"'; exec redis-server --port ${port} --bind 127.0.0.1 --save "" --appendonly no`;
  return processes.start(["sh", "-c", script]);
}

async function start(
  { processes, provider, bundle }: Stage,
  name: string,
  databaseUrl: string,
  redisUrl?: string,
): Promise<Contender> {
  const env = { PORT: "0", DATABASE_URL: databaseUrl, OPENAI_BASE_URL: provider.url };
  const service = await processes.start([process.execPath, "--enable-source-maps", bundle], {
    ...env,
    ...(redisUrl !== undefined && { REDIS_URL: redisUrl }),
  });
  return { name, databaseUrl, service };
}

type Rig = { processes: Processes; contenders: readonly Contender[]; redis: Running; folder: string };
type Round = Map<Contender, Figures>;

async function measure(rig: Rig, scenario: Scenario): Promise<Round[]> {
  const done: Round[] = [];
  for (let i = -1; i < rounds; i++) {
    const round: Round = new Map();
    for (const contender of i % 2 === 0 ? rig.contenders : rig.contenders.toReversed()) {
      round.set(contender, await drive(rig, contender, scenario));
    }
    if (i >= 0) done.push(round); // the first one warms up
  }
  return done;
}

async function drive(
  { processes, redis, folder }: Rig,
  { service, databaseUrl }: Contender,
  scenario: Scenario,
): Promise<Figures> {
  const path = join(folder, "conversations.json");
  writeFileSync(path, JSON.stringify(await writeConversations(databaseUrl, scenario.messages)));
  const { url, pid } = service;
  const { ask, clients } = scenario;
  const options = { url, pid, clients, ask, turns: given.turns, conversations: path, warmup: 0, seconds: 600 };
  const before = [cpuOf(pid), storesCpu(redis), await hitsOf(redis)] as const;
  const load: Load = JSON.parse(
    await processes.run([
      process.execPath,
      file("driver.ts"),
      ...Object.entries(options).map(([k, v]) => `--${k}=${v}`),
    ]),
  );
  const answers = Number(given.conversations) * Number(given.turns);
  const share = (after: number, was: number) => ((after - was) / answers) * 1e6;
  const found = (((await hitsOf(redis)) - before[2]) / answers) * 100;
  return { ...load, service: share(cpuOf(pid), before[0]), stores: share(storesCpu(redis), before[1]), found };
}

async function hitsOf({ url }: Running): Promise<number> {
  const client = await createClient({ url }).connect();
  const stats = await client.info("stats");
  client.destroy();
  return Number(/keyspace_hits:(\d+)/.exec(stats)?.[1]);
}

/** Conversations of the anonymous user, as so many messages would have left them. */
async function writeConversations(url: string, count: number): Promise<string[]> {
  const ids = Array.from({ length: Number(given.conversations) }, () => randomUUID());
  const sql = postgres(url, { max: 1, onnotice: () => {} });
  await sql`
    insert into conversations (id, user_id, rev, message_count, last_seq, created_at, updated_at)
    select id::uuid, 'anonymous', ${count}::int, ${count}::int, ${count}::int, 1, 1 from unnest(${ids}::text[]) id`;
  await sql`
    insert into messages (id, conversation_id, seq, rev, role, sender_id, content, status, created_at)
    select gen_random_uuid(), id::uuid, n, n, case n % 2 when 1 then 'user' else 'assistant' end,
      case n % 2 when 1 then 'anonymous' end, left(repeat(md5(n || id) || ' ', 40), ${Number(given.characters)}::int), 'completed', 1
    from unnest(${ids}::text[]) id, generate_series(1, ${count}::int) n`;
  await sql`analyze messages`;
  await sql`checkpoint`;
  await sql.end();
  return ids;
}

function report({ ask, messages, clients }: Scenario, contenders: readonly Contender[], done: readonly Round[]): void {
  const [first] = contenders;
  for (const contender of contenders) {
    const figure = (take: (round: Round) => number, digits: number) => median(done.map(take)).toFixed(digits);
    const of = (key: keyof Figures, digits: number) => figure((round) => figureOf(round, contender, key), digits);
    const ratio = figure((round) => figureOf(round, contender, "rate") / figureOf(round, first, "rate"), 2);
    const cells = [
      ask,
      messages,
      clients,
      contender.name,
      of("rate", 0),
      ratio,
      of("p50", 1),
      of("p99", 1),
      of("service", 0),
      of("stores", 0),
      of("found", 0),
    ];
    console.log(`| ${cells.join(" | ")} |`);
  }
}

const figureOf = (round: Round, who: Contender | undefined, key: keyof Figures) =>
  (who && round.get(who)?.[key]) ?? Number.NaN;

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const half = sorted.length / 2;
  return ((sorted[Math.ceil(half) - 1] ?? Number.NaN) + (sorted[Math.floor(half)] ?? Number.NaN)) / 2;
}

const interrupted = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => interrupted.abort(new Error(`ended by ${signal}`)));
}
try {
  await main(AbortSignal.any([interrupted.signal, AbortSignal.timeout(LATE_MS)]));
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
