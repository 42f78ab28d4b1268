import type { Config } from "./config.ts";
import { configure } from "./configure.ts";
import { sleep } from "./core/time.ts";
import { placeOf } from "./db/address.ts";
import { type Logger, openLog } from "./http/log.ts";
import { listen, reachable, tryAddress, urlOf, whyNoListener } from "./listen.ts";
import { connectionsFor, mostOpenFiles } from "./open-files.ts";
import { reasonOf } from "./secrets.ts";
import { type Parley, startParley, version } from "./start.ts";

/** A terminal's Ctrl-C arrives twice under npm, which passes it on. */
const SAME_SIGNAL_MS = 500;

/** Serves until a signal ends it. */
export async function run(): Promise<void> {
  const configured = configure();
  if (!configured) return;
  const { config, notices, secrets, fail } = configured;
  const format = config.LOG_FORMAT ?? (process.stdout.isTTY ? "pretty" : "json");
  const { log, close } = openLog(config.LOG_LEVEL, format, secrets);
  logWhatNobodyCaught(log, close);
  const stopBy = stopOnSignal(log, close);
  if (await isRefused(config, fail)) return;
  const parley = await startParley(config, log).catch((error) => fail([`DATABASE_URL: ${reasonOf(error)}`]));
  if (!parley) return;
  stopBy(() => parley.stop());
  const address = { ...config, MAX_CONNECTIONS: connectionsWithin(config, log) };
  const server = await listen(parley.app.fetch, address).catch((error) => fail([whyNoListener(error, config)]));
  if (!server) return parley.stop();
  parley.ready();
  stopBy(async (signal) => {
    parley.leave();
    await sleep(noticeMs(config, signal));
    await parley.stop(server.close());
  });
  greet(log, config, { port: server.port, models: parley.models });
  for (const notice of notices) log.warn(notice);
}

/** Before a database is made for a service that cannot be reached. */
async function isRefused(config: Config, fail: (problems: string[]) => undefined): Promise<boolean> {
  try {
    await tryAddress(config);
    return false;
  } catch (error) {
    fail([whyNoListener(error, config)]);
    return true;
  }
}

/** As many as are wanted, or fewer where the process may not open as many files. */
function connectionsWithin({ MAX_CONNECTIONS: wanted }: Config, log: Logger): number {
  const openFiles = mostOpenFiles();
  const most = connectionsFor(wanted, openFiles);
  if (most < wanted) {
    log.warn(
      { open_files: openFiles, wanted, connections: most },
      `the limit of open files is too low for MAX_CONNECTIONS: ${most} connections are taken at once; raise it to ${2 * wanted} (ulimit -n), or set MAX_CONNECTIONS to ${most}`,
    );
  }
  return most;
}

function greet(log: Logger, config: Config, { port, models }: Pick<Parley, "models"> & { port: number }): void {
  const targetsOf = ({ targets }: (typeof models.aliases)[number]) => targets.map(({ target }) => target).join(", ");
  const aliases = Object.fromEntries(models.aliases.map((one) => [one.alias, targetsOf(one)]));
  const docs = `${urlOf({ HOST: reachable(config.HOST), PORT: port })}/docs`;
  log.info({ url: urlOf({ HOST: config.HOST, PORT: port }), docs, version }, "Parley is listening");
  log.info({ database: placeOf(config.DATABASE_URL) }, "conversations are stored in this database");
  log.info({ models: aliases }, "models that answer");
  if (config.open)
    log.warn(
      "open: whoever reaches this service may do everything; set JWT_SECRET, JWT_JWKS_URL or API_KEYS to close it",
    );
  if (Object.values(aliases).every((targets) => targets === "echo/echo")) {
    log.warn(
      "no provider: the built-in offline model echo/echo answers; add a key, like OPENAI_API_KEY=sk-... npm start (or GROQ_API_KEY, RUNPOD_API_KEY), or a server of your own, like OPENAI_BASE_URL=http://localhost:11434/v1 npm start for Ollama",
    );
  }
}

/** How long load balancers get to see that it is about to stop, in milliseconds, where nothing is said of it. */
const NOTICE_MS = 5_000;

/** None for a person at a terminal: there Ctrl-C is meant. */
function noticeMs({ DRAIN_NOTICE_MS }: Config, signal: NodeJS.Signals): number {
  if (signal === "SIGINT") return 0;
  return DRAIN_NOTICE_MS ?? (process.stdin.isTTY || process.stdout.isTTY ? 0 : NOTICE_MS);
}

type Stop = (signal: NodeJS.Signals) => Promise<void>;

/**
 * From now on the first signal ends the process as it is told to by then, a second one at once. As process 1 of a
 * container it has no other end: the system does nothing on a signal that nobody heeds.
 */
function stopOnSignal(log: Logger, close: () => Promise<void>): (stop: Stop) => void {
  let stop: Stop = async () => {};
  let first: { signal: string; at: number } | undefined;
  const onSignal = async (signal: NodeJS.Signals) => {
    if (first) {
      if (signal !== first.signal || performance.now() - first.at > SAME_SIGNAL_MS) process.exit(1);
      return;
    }
    first = { signal, at: performance.now() };
    log.info({ signal }, "stopping");
    const code = await stop(signal).then(
      () => 0,
      (error) => {
        log.error({ err: error }, "not all of it could be closed");
        return 1;
      },
    );
    log.info("stopped");
    await close();
    process.exit(code);
  };
  process.on("SIGTERM", onSignal);
  process.on("SIGINT", onSignal);
  return (by) => {
    stop = by;
  };
}

/** A rejection without a listener is one request's trouble, not the end of everybody's; after an exception nothing is sure. */
function logWhatNobodyCaught(log: Logger, close: () => Promise<void>): void {
  process.on("unhandledRejection", (error) => log.error({ err: error }, "a rejection that nobody handled"));
  process.on("uncaughtException", (error) => {
    log.error({ err: error }, "an exception that nobody caught; the process ends");
    void close().then(() => process.exit(1));
  });
}
