import { randomUUID } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { createClient } from "@redis/client";
import postgres from "postgres";
import { freePort } from "../tests/support/global.ts";
import { drive, startParley } from "./contenders.ts";
import { options } from "./options.ts";
import { cpuOf, storesCpu } from "./proc.ts";
import type { Processes, Running } from "./processes.ts";
import { inRounds, over, printHead, printRow } from "./rounds.ts";
import type { Scenario, Stage } from "./stage.ts";

// What a Redis is worth beside Postgres: the same turns, and the same reads of a session, on two services that differ in
// REDIS_URL alone. Each load goes through conversations that were written for it, so all begin with the same length and
// with nothing kept.

const CLIENTS = [16, 64];
/** How often each conversation is asked, and how long its messages are. */
const TURNS = 10;
const CHARACTERS = 500;
/** The load is over when every conversation was gone through. */
const ENDLESS_S = 600;

type Contender = { name: string; databaseUrl: string; service: Running };
type Asked = { ask: "turn" | "session"; length: number; clients: number };
/**
 * Processor time in microseconds an answer: of the service, and of Postgres and Redis together; and how many answers in a
 * hundred found something kept: on a busy machine Redis is not waited for.
 */
type Figures = Record<"rate" | "p50" | "p99" | "service" | "stores" | "found", number>;

export const redisScenario: Scenario = {
  name: "redis",
  async run(stage) {
    const redis = await startRedis(stage.processes);
    const start = async (name: string, env: Record<string, string>): Promise<Contender> => {
      const databaseUrl = await stage.fresh("Postgres", `redis_${Object.keys(env).length}`);
      return { name, databaseUrl, service: await startParley(stage, { runtime: "Node", databaseUrl, env }) };
    };
    const contenders = [await start("Postgres alone", {}), await start("with Redis", { REDIS_URL: redis.url })];
    const columns = ["a second", "ratio", "p50 ms", "p99 ms", "CPU µs: service", "stores", "found %"];
    printHead(["ask", "messages", "clients", "", ...columns]);
    for (const asked of allAsked()) {
      const measure = (contender: Contender) => measureOne(stage, { contender, redis, asked });
      for (const contender of contenders) await measure(contender); // warms up
      report(asked, contenders, await inRounds(options.rounds, contenders, measure));
    }
  },
};

const allAsked = (): Asked[] =>
  (["turn", "session"] as const).flatMap((ask) =>
    options.lengths.flatMap((length) =>
      (options.clients.length > 0 ? options.clients : CLIENTS).map((clients) => ({ ask, length, clients })),
    ),
  );

async function startRedis(processes: Processes): Promise<Running> {
  const port = await freePort();
  const script = `echo '"url":"redis://127.0.0.1:${port}"'; exec redis-server --port ${port} --bind 127.0.0.1 --save "" --appendonly no`;
  return processes.start(["sh", "-c", script]);
}

type Measured = { contender: Contender; redis: Running; asked: Asked };

async function measureOne(stage: Stage, { contender, redis, asked }: Measured): Promise<Figures> {
  const { service, databaseUrl } = contender;
  const { ask, clients, length } = asked;
  const path = join(stage.folder, "conversations.json");
  writeFileSync(path, JSON.stringify(await writeConversations(databaseUrl, length)));
  const before = [cpuOf(service.pid), storesCpu(redis), await hitsOf(redis)] as const;
  const more = { clients, turns: TURNS, conversations: path, warmup: 0, seconds: ENDLESS_S };
  const load = await drive(stage, { ...service, ask }, more);
  const answers = options.conversations * TURNS;
  const share = (after: number, was: number) => ((after - was) / answers) * 1e6;
  const found = (((await hitsOf(redis)) - before[2]) / answers) * 100;
  return { ...load, service: share(cpuOf(service.pid), before[0]), stores: share(storesCpu(redis), before[1]), found };
}

async function hitsOf({ url }: Running): Promise<number> {
  const client = await createClient({ url }).connect();
  const stats = await client.info("stats");
  client.destroy();
  return Number(/keyspace_hits:(\d+)/.exec(stats)?.[1]);
}

async function writeConversations(url: string, count: number): Promise<string[]> {
  const ids = Array.from({ length: options.conversations }, () => randomUUID());
  const sql = postgres(url, { max: 1, onnotice: () => {} });
  await sql`
    insert into conversations (id, user_id, rev, message_count, last_seq, created_at, updated_at)
    select id::uuid, 'anonymous', ${count}::int, ${count}::int, ${count}::int, 1, 1 from unnest(${ids}::text[]) id`;
  await sql`
    insert into messages (id, conversation_id, seq, rev, role, sender_id, content, status, created_at)
    select gen_random_uuid(), id::uuid, n, n, case n % 2 when 1 then 'user' else 'assistant' end,
      case n % 2 when 1 then 'anonymous' end, left(repeat(md5(n || id) || ' ', 40), ${CHARACTERS}::int), 'completed', 1
    from unnest(${ids}::text[]) id, generate_series(1, ${count}::int) n`;
  await sql`analyze messages`;
  await sql`checkpoint`;
  await sql.end();
  return ids;
}

type Round = Map<Contender, Figures>;

function report({ ask, length, clients }: Asked, contenders: readonly Contender[], rounds: readonly Round[]): void {
  const [first] = contenders;
  const of = (round: Round, key: keyof Figures, who = first) => (who && round.get(who)?.[key]) ?? Number.NaN;
  for (const contender of contenders) {
    const figure = (key: keyof Figures, digits: number) => over(rounds, (round) => of(round, key, contender), digits);
    const ratio = over(rounds, (round) => of(round, "rate", contender) / of(round, "rate"), 2);
    const figures = [figure("p50", 1), figure("p99", 1), figure("service", 0), figure("stores", 0), figure("found", 0)];
    printRow([ask, length, clients, contender.name, figure("rate", 0), ratio, ...figures]);
  }
}
