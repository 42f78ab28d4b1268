import { setTimeout as sleep } from "node:timers/promises";
import { openDatabase, parseDatabaseUrl } from "../src/db/index.ts";
import { randomFrom } from "../tests/support/core-random.ts";
import { startProvider } from "../tests/support/provider.ts";
import { type AskedOf, answerSlowly } from "./answers.ts";
import { audit, type Findings } from "./audit.ts";
import { type Conversations, runClient } from "./clients.ts";
import { createLedger, type Ledger } from "./ledger.ts";
import { createService, type Service } from "./service.ts";

export type Plan = {
  bundle: string;
  folder: string;
  port: number;
  databaseUrl: string;
  kills: number;
  clients: number;
  seed: number;
  signal: AbortSignal;
  tell(line: string): void;
};

export type Result = Findings & { kills: number; sent: number; answered: number; resumed: number; seconds: number };

/** How long the service lives: mostly until clients are in the middle of things, at times not until it listens. */
const LIFE_MS = { least: 500, most: 1_500, short: 400 };
/** For what is open when the killing stops: a lease, a sweep and the answer, for those in a line one after the other. */
const SETTLE_MS = 90_000;
/** Every conversation takes its next message within this time. */
const NEXT_MS = 30_000;
const AT_ONCE = 16;

/** Kills the service so many times while clients send, then looks whether anything was lost or doubled. */
export async function soak(plan: Plan): Promise<Result> {
  const random = randomFrom(plan.seed);
  const started = performance.now();
  const provider = await startProvider();
  const asked: AskedOf = new Map();
  provider.behave(answerSlowly(randomFrom(plan.seed + 1), asked));
  const env = { DATABASE_URL: plan.databaseUrl, OPENAI_BASE_URL: provider.openaiUrl };
  const service = createService({ ...plan, env });
  const ledger = createLedger();
  const over = new AbortController();
  const late = new AbortController();
  try {
    await service.start().listening;
    const setting = { url: service.url, random, ledger, over: over.signal, late: late.signal };
    const conversations = await makeConversations(service.url);
    const clients = Array.from({ length: plan.clients }, (_, i) => runClient({ ...setting, conversations }, i));
    await killAgainAndAgain(service, plan);
    over.abort();
    const deadline = setTimeout(() => late.abort(), SETTLE_MS);
    await Promise.all(clients);
    clearTimeout(deadline);
    const findings = await lookAround(plan, service, ledger, asked);
    const seconds = (performance.now() - started) / 1000;
    const answered = ledger.sent.filter((sent) => sent.answered).length;
    const { kills } = plan;
    return { kills, sent: ledger.sent.length, answered, resumed: ledger.resumed, seconds, ...findings };
  } finally {
    over.abort();
    late.abort();
    await service.kill();
    await provider.close();
  }
}

async function makeConversations(url: string): Promise<Conversations> {
  const made = async () => (await post(url, "/chats", {})).json.id as string;
  const several = async (more: number): Promise<[string, ...string[]]> => [
    await made(),
    ...(await Promise.all(Array.from({ length: more }, made))),
  ];
  return { calm: await several(149), crowded: await several(2), restless: await several(7) };
}

async function killAgainAndAgain(service: Service, { kills, seed, signal, tell }: Plan): Promise<void> {
  const random = randomFrom(seed + 2);
  for (let i = 0; i < kills; i++) {
    signal.throwIfAborted();
    await sleep(LIFE_MS.least + random(LIFE_MS.most - LIFE_MS.least));
    await service.kill();
    let { listening } = service.start();
    if (random(8) === 0 && i + 1 < kills) {
      i++;
      await sleep(random(LIFE_MS.short));
      await service.kill();
      ({ listening } = service.start());
    }
    await listening;
    if ((i + 1) % 10 === 0) tell(`${i + 1} of ${kills} kills`);
  }
}

/** Once every turn has ended: what is stored, and whether every conversation goes on. */
async function lookAround(plan: Plan, service: Service, ledger: Ledger, asked: AskedOf): Promise<Findings> {
  const db = await openDatabase(parseDatabaseUrl(plan.databaseUrl), { synchronous: "full" });
  try {
    const last = performance.now() + NEXT_MS;
    const { turns: t, conversations: c } = db.tables;
    const open = async () => (await db.select().from(t)).some(({ completedAt }) => completedAt === null);
    while ((await open()) && performance.now() < last) await sleep(500);
    const findings = await audit(db, ledger, asked);
    const all = (await db.select({ id: c.id }).from(c)).map(({ id }) => id);
    const stuck = await stuckOnes(service.url, all);
    const unanswered = ledger.sent.filter((sent) => !sent.answered && !sent.mayBeCancelled);
    const never = unanswered.map(({ mark }) => `${mark} was never answered`);
    const logged = [...new Set(service.errors.map((line) => `logged: ${line.slice(0, 300)}`))].slice(0, 20);
    return { ...findings, wrong: [...findings.wrong, ...stuck, ...never, ...logged] };
  } finally {
    await db.close();
  }
}

/** Those that do not take their next message, in words. */
async function stuckOnes(url: string, ids: string[]): Promise<string[]> {
  const stuck: string[] = [];
  const askEach = async () => {
    for (let id = ids.pop(); id !== undefined; id = ids.pop()) {
      const { status, json } = await post(url, "/chat", { chat_id: id, message: "#m0-0# next" }).catch(noAnswer);
      if (status !== 200) stuck.push(`conversation ${id} does not go on: ${status} ${json.code}`);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, askEach));
  return stuck;
}

const noAnswer = (error: Error) => ({ status: 0, json: { code: error.message } });

// biome-ignore lint/suspicious/noExplicitAny: whatever JSON came
async function post(url: string, path: string, body: object): Promise<{ status: number; json: any }> {
  const headers = { "content-type": "application/json" };
  const signal = AbortSignal.timeout(NEXT_MS);
  const response = await fetch(url + path, { method: "POST", headers, body: JSON.stringify(body), signal });
  return { status: response.status, json: await response.json() };
}
