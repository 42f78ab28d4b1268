import { inspectRedis } from "./bus/redis.ts";
import type { Config } from "./config.ts";
import { readConfig } from "./configure.ts";
import { placeOf } from "./db/address.ts";
import { inspectDatabase } from "./db/inspect.ts";
import { countKeys } from "./http/key-set.ts";
import { kindOfError, statusOf, tell } from "./models/failures.ts";
import { isNothingThere, type ListedModel, listModels } from "./models/model-list.ts";
import { createRegistry } from "./models/registry.ts";
import { runpod } from "./models/runpod.ts";
import { createTransport, type Transport } from "./models/transport.ts";
import { hiding, reasonOf } from "./secrets.ts";
import { createStreamChat, reachStream } from "./stream-chat/client.ts";
import { StreamChatError } from "./stream-chat/failures.ts";

/** `isWarning`: it works, and may not be what is meant. */
type Finding = { ok: boolean; isWarning?: true; what: string; detail: string };

const PATIENCE_MS = 5_000;
const SERVED = "is served by another process now, beside which no second one may start";

/** Looks at everything that the service depends on, and says in a line each how it is. */
export async function run(): Promise<void> {
  const configured = readConfig();
  const hide = hiding(configured.secrets);
  const findings =
    "problems" in configured
      ? configured.problems.map((detail) => ({ ok: false, what: "configuration", detail }))
      : [
          ...(await examine(configured.config)),
          ...configured.notices.map((detail) => warning("configuration", detail)),
        ];
  const lines = findings.map((finding) => `${levelOf(finding)} ${finding.what}: ${hide(finding.detail)}\n`);
  process.stdout.write(lines.join("")); // at once: `grep -q` leaves after the first that it looks for
  process.exitCode = findings.every(({ ok }) => ok) ? 0 : 1;
}

const warning = (what: string, detail: string): Finding => ({ ok: true, isWarning: true, what, detail });

function levelOf({ ok, isWarning }: Finding): string {
  if (!ok) return "trouble";
  return isWarning ? "warn   " : "ok     ";
}

async function examine(config: Config): Promise<Finding[]> {
  const transport = createTransport();
  try {
    const lists = await askProviders(config, transport);
    return [
      await database(config),
      ...(await keyServer(config)),
      ...(await redis(config)),
      ...lists.map(({ finding }) => finding),
      ...targets(config, transport, lists),
      ...(await workers(config, transport)),
      ...(await streamChat(config, transport)),
      ...whatIsMissing(config),
    ];
  } finally {
    await transport.close();
  }
}

/** A service without them runs, and is not what anybody puts to use. */
function whatIsMissing({ open, models: { openai, groq, runpod } }: Config): Finding[] {
  const access = "open: whoever reaches it may do everything; set JWT_SECRET, JWT_JWKS_URL or API_KEYS to close it";
  const provider =
    "none: the built-in offline model answers; set OPENAI_API_KEY, OPENAI_BASE_URL, GROQ_API_KEY or RUNPOD_API_KEY";
  return [
    ...(openai || groq || runpod ? [] : [warning("provider", provider)]),
    ...(open ? [warning("access", access)] : []),
  ];
}

async function database({ DATABASE_URL: address }: Config): Promise<Finding> {
  const [what, place] = [`database (${address.dialect})`, placeOf(address)];
  try {
    const found = await inspectDatabase(address);
    if (!found.exists) return { ok: true, what, detail: `${place} is not there yet; the first start makes it` };
    const rest = found.pending === 0 ? "up to date" : `the next start applies ${found.pending}`;
    const detail = `${place} is reachable, ${found.applied} migrations applied, ${rest}`;
    return found.isServed ? warning(what, `${detail}; it ${SERVED}`) : { ok: true, what, detail };
  } catch (error) {
    return { ok: false, what, detail: `${place}: ${reasonOf(error)}` };
  }
}

async function keyServer({ JWT_JWKS_URL: url }: Config): Promise<Finding[]> {
  if (url === undefined) return [];
  const what = "key server";
  try {
    const keys = await countKeys(url);
    return [{ ok: keys > 0, what, detail: `reachable, has ${keys} keys` }];
  } catch (error) {
    return [{ ok: false, what, detail: reasonOf(error) }];
  }
}

/** Without it the service goes on, but whoever sets its address wants it. */
async function redis({ REDIS_URL: url }: Config): Promise<Finding[]> {
  if (url === undefined) return [];
  const what = "redis";
  try {
    await inspectRedis(url, PATIENCE_MS);
    return [{ ok: true, what, detail: "reachable" }];
  } catch (error) {
    return [{ ok: false, what, detail: reasonOf(error) }];
  }
}

type Asked = { name: string; models: ListedModel[] | null; finding: Finding };

function askProviders({ models }: Config, transport: Transport): Promise<Asked[]> {
  const { openai, groq } = models;
  const asked = [
    ...(openai ? [{ name: "openai", ...openai }] : []),
    ...(groq ? [{ name: "groq", apiKey: groq.apiKey, baseURL: `${groq.baseURL}/openai/v1` }] : []),
  ];
  return Promise.all(
    asked.map(async ({ name, apiKey, baseURL }): Promise<Asked> => {
      const what = `provider ${name}`;
      try {
        const listed = await listModels(transport, { apiKey, baseURL }, AbortSignal.timeout(PATIENCE_MS));
        return {
          name,
          models: listed,
          finding: { ok: true, what, detail: `reachable, lists ${listed.length} models` },
        };
      } catch (error) {
        return { name, models: null, finding: { ok: false, what, detail: noList(name, baseURL, error) } };
      }
    }),
  );
}

/** Why a server did not list its models; where nothing is found the address may lack its end. */
function noList(name: string, baseURL: string, error: unknown): string {
  if (!isNothingThere(error)) return refusal(name, error);
  if (/\/v\d[^/]*(\/|$)/.test(baseURL)) return `${name} has no list of models at that address`;
  return `${name} has nothing at that address; does ${name.toUpperCase()}_BASE_URL need /v1 at its end?`;
}

function refusal(name: string, error: unknown): string {
  const status = statusOf(error);
  const { detail } = tell(name, kindOfError(error, "connect"));
  return status === null ? detail : `${detail} (HTTP ${status})`;
}

/** Each target of each alias that is usable: whether its provider knows the model, and for how long. */
function targets({ models }: Config, transport: Transport, lists: readonly Asked[]): Finding[] {
  const { aliases } = createRegistry(models, transport).list();
  return aliases.flatMap(({ alias, targets: all }) =>
    all.map(({ target, usable }) => {
      const what = `model ${alias}: ${target}`;
      return usable ? { what, ...modelAt(target, lists) } : { ok: false, what, detail: "no key for its provider" };
    }),
  );
}

function modelAt(target: string, lists: readonly Asked[]): Omit<Finding, "what"> {
  const [name, model] = [target.slice(0, target.indexOf("/")), target.slice(target.indexOf("/") + 1)];
  const list = lists.find((asked) => asked.name === name);
  if (!list) return { ok: true, detail: name === "echo" ? "built in" : "its provider lists no models" };
  if (!list.models) return { ok: false, detail: "its provider cannot be asked" };
  const found = model === "*" ? list.models[0] : list.models.find(({ id }) => id === model);
  if (!found) return { ok: false, detail: "its provider does not know it" };
  const until = found.shutdown === null ? "" : `, switched off on ${found.shutdown}`;
  const isOver = found.shutdown !== null && found.shutdown <= new Date().toISOString().slice(0, 10);
  return { ok: !isOver, detail: `${model === "*" ? `stands for ${found.id}` : "known"}${until}` };
}

async function workers({ models }: Config, transport: Transport): Promise<Finding[]> {
  if (!models.runpod) return [];
  const what = "provider runpod";
  try {
    const { workers, jobs } = await runpod({ ...models.runpod, transport }).health(AbortSignal.timeout(PATIENCE_MS));
    const able = workers.idle + workers.ready + workers.running + workers.initializing;
    const counts = Object.entries(workers).map(([state, count]) => `${count} ${state}`);
    const waiting = able === 0 ? "; a job would wait for ever" : "";
    return [{ ok: able > 0, what, detail: `workers: ${counts.join(", ")}; ${jobs.inQueue} jobs in line${waiting}` }];
  } catch (error) {
    return [{ ok: false, what, detail: refusal("runpod", error) }];
  }
}

async function streamChat({ stream: app }: Config, { send }: Transport): Promise<Finding[]> {
  if (!app) return [];
  const what = "stream chat";
  try {
    await reachStream(createStreamChat({ ...app, send, clock: Date.now, timeoutMs: PATIENCE_MS }));
    return [{ ok: true, what, detail: "reachable, takes the key and the secret" }];
  } catch (error) {
    if (!(error instanceof StreamChatError)) throw error;
    const detail =
      error.kind === "token" ? "does not take the key, the secret, or the time of this machine" : "is away";
    return [{ ok: false, what, detail: error.status === null ? detail : `${detail} (HTTP ${error.status})` }];
  }
}
