import pkg from "../package.json" with { type: "json" };
import { createApp } from "./app.ts";
import { type Buckets, localBuckets, sharedBuckets } from "./bus/buckets.ts";
import { openBus } from "./bus/bus.ts";
import { sharedCache } from "./bus/cache.ts";
import { openRedis, type Redis } from "./bus/redis.ts";
import type { Config, StreamConfig } from "./config.ts";
import { createDesks } from "./core/desks.ts";
import { drainTurns } from "./core/launch.ts";
import { createLive, type Live, type TurnDeps } from "./core/live.ts";
import type { Bus } from "./core/notes.ts";
import { startRetention } from "./core/retention.ts";
import { orAfter, sleep } from "./core/time.ts";
import { heedCancellations, startUpkeep } from "./core/upkeep.ts";
import { createWatch } from "./core/watch.ts";
import { announcing } from "./db/announcing.ts";
import type { Db } from "./db/db.ts";
import { openDatabase } from "./db/index.ts";
import { measured } from "./db/measured.ts";
import { provenByWriting } from "./db/writable.ts";
import type { Logger } from "./http/log.ts";
import { createMetrics } from "./metrics.ts";
import { createDispatch } from "./models/dispatch.ts";
import { createRegistry } from "./models/registry.ts";
import { createTransport, type Transport } from "./models/transport.ts";
import { startOutbox } from "./outbox/outbox.ts";
import type { ModelList, Services } from "./services.ts";
import { createStreamChat, type StreamChatOptions } from "./stream-chat/client.ts";
import { startStreamInbox } from "./stream-chat/inbox.ts";
import { STREAM_PACE } from "./stream-chat/mirror.ts";
import { type StreamMirrorDeps, startStreamMirror } from "./stream-chat/stream.ts";
import { webhookOutlet } from "./webhooks/webhook.ts";

const DAY_MS = 86_400_000;
/** What connections get to close once no turn runs, in milliseconds. */
const LEAVING_MS = 2_000;

export type Parley = {
  app: ReturnType<typeof createApp>;
  models: ModelList;
  /** From now on `/health/ready` says so. */
  ready(): void;
  /** From now on `/health/ready` says that it is about to stop; whatever else is asked is done as ever. */
  leave(): void;
  /** Turns away new work, waits for running turns, then closes everything. `closed` resolves when no request is left. */
  stop(closed?: Promise<void>): Promise<void>;
};

export const { version } = pkg;

const THEN = "stop the service, see that the right file is in its place, and start it again";

/** What the log says when the database's file is no longer the service's. */
const FILE_STATES = {
  moved: `the database file was deleted or replaced under the service: nothing is written from now on, and at the stop its log is put aside (-wal.put-aside); ${THEN}`,
  overwritten: `the database file was written over by another program (a restore, say) under the service: nothing is read or written from now on, and at the stop its log is put aside (-wal.put-aside); ${THEN}`,
  unlocked:
    "the lock beside the database file was deleted, and another process has taken it: nothing is written from now on; stop one of the two",
} as const;

/** Opens the database and puts the service together over it. Throws where the database cannot be used. */
export async function startParley(config: Config, log: Logger): Promise<Parley> {
  const db = await openDatabase(config.DATABASE_URL, {
    synchronous: config.SQLITE_SYNCHRONOUS,
    alone: true,
    timeoutMs: config.DATABASE_TIMEOUT_MS,
    poolMax: config.DATABASE_POOL_MAX,
    told: (line) => log.info(line),
    webhook: config.webhook !== null,
    stream: config.stream !== null,
    kept: (file) => log.info({ file }, "migrations are pending: the database as it was before them is kept"),
    moved(state) {
      if (state === "ours") log.warn("the database file is back, and is written again");
      else log.error(FILE_STATES[state]);
    },
  });
  return startOver(db, config, log);
}

/** Puts the service together over an open, migrated database, which it closes when it stops. */
export async function startOver(database: Db, config: Config, log: Logger): Promise<Parley> {
  const redis = config.REDIS_URL === undefined ? null : await openRedis(config.REDIS_URL, log);
  const bus = await openBus(redis?.carrier ?? database.carrier, log);
  const transport = createTransport();
  const { turns, models, metrics, streams } = turnsOver(database, config, { redis, bus, transport, log });
  const { db, live, clock } = turns;
  const watch = createWatch({ ...turns, bus });
  const desks = createDesks({ db, bus, log });
  const outward = { db: database, bus, send: transport.send, clock, log };
  const stream = await startStream(config.stream, { ...outward, live });
  const streamInbox = config.stream && startStreamInbox({ ...config.stream, most: config.MAX_BODY_BYTES, turns, log });
  const leaving = new AbortController();
  let phase: ReturnType<Services["phase"]> = "starting";
  const services = {
    ...{ db, redis, bus, watch, desks, stream, streamInbox, turns, clock, log, models, metrics, streams, version },
    phase: () => phase,
    leaving: leaving.signal,
  };
  const app = createApp(services, { ...config, buckets: bucketsFor(config, redis) });
  const stopUpkeep = await startUpkeep(turns);
  const stopRetention = startRetention(turns);
  heedOthers(turns, bus);
  const webhook = await startWebhook(config.webhook, outward);
  return {
    app,
    models: models(),
    ready() {
      phase = "ready";
    },
    leave() {
      phase = "draining";
    },
    async stop(closed) {
      phase = "draining";
      leaving.abort();
      // A database that answers nothing must not keep the process: all of it ends in its time.
      const lastMs = config.DATABASE_TIMEOUT_MS + LEAVING_MS;
      const inboxLeft = orAfter(lastMs, Promise.resolve(streamInbox?.stop(LEAVING_MS)));
      await Promise.all([drainTurns(live, config.DRAIN_TIMEOUT_S * 1000, lastMs), inboxLeft]);
      stopUpkeep();
      watch.stop();
      desks.stop();
      // A client that never ends its request ends here.
      const left = Promise.race([closed, sleep(LEAVING_MS)]);
      await orAfter(lastMs, Promise.all([stopRetention(), webhook?.stop(LEAVING_MS), stream?.stop(LEAVING_MS), left]));
      await transport.close();
      await orAfter(LEAVING_MS, bus.close());
      await redis?.close();
      await db.close();
    },
  };
}

type Around = { redis: Redis | null; bus: Bus; transport: Transport; log: Logger };

/** What runs turns over a database, and counts what they do. */
function turnsOver(database: Db, config: Config, { redis, bus, transport, log }: Around) {
  const registry = createRegistry(config.models, transport);
  const [live, streams] = [createLive(), new Map<string, number>()];
  registry.askWindows();
  const metrics = createMetrics({ models: registry.list, live, streams });
  database.onCommit(metrics.committed);
  const written = measured(provenByWriting(database, Date.now), metrics.wrote);
  const db = announcing(written, (conversationId) => bus.send({ type: "changed", conversationId }));
  const timeouts = {
    firstToken: config.FIRST_TOKEN_TIMEOUT_MS,
    lastFirstToken: config.LAST_FIRST_TOKEN_TIMEOUT_MS,
    idle: config.IDLE_TIMEOUT_MS,
    total: config.TURN_TIMEOUT_MS,
  };
  const turns: TurnDeps = {
    db,
    models: { plan: registry.plan, dispatch: createDispatch(registry, timeouts, { attempted: metrics.attempt }) },
    live,
    cache: redis && sharedCache(redis),
    clock: Date.now,
    allowance: { turns: config.MAX_TURNS_PER_USER, tokensADay: config.DAILY_TOKENS_PER_USER },
    retention: {
      deletedMs: config.DELETED_MESSAGE_DAYS * DAY_MS,
      untouchedMs: config.RETENTION_DAYS && config.RETENTION_DAYS * DAY_MS,
    },
    systemPrompt: config.SYSTEM_PROMPT ?? null,
    log,
    observe: metrics,
  };
  return { turns, models: registry.list, metrics, streams };
}

type Outward = Pick<StreamMirrorDeps, "db" | "bus" | "log"> & Pick<StreamChatOptions, "send" | "clock">;

async function startStream(config: StreamConfig | null, { send, clock, ...parts }: Outward & { live: Live }) {
  if (!config) return null;
  return startStreamMirror({
    ...parts,
    ...config,
    stream: createStreamChat({ ...config, send, clock, timeoutMs: STREAM_PACE.timeoutMs }),
  });
}

async function startWebhook(config: Config["webhook"], { db, bus, send, clock, log }: Outward) {
  if (!config) return null;
  const endpoint = { ...config, send, clock, userAgent: `parley/${version}` };
  return startOutbox({ db, bus, outlet: webhookOutlet(db, endpoint), log });
}

/** Another instance that has changed a conversation whose turns run here may have cancelled them: they are looked for. */
function heedOthers(turns: TurnDeps, bus: Bus): void {
  let looking = false;
  let again = false;
  async function look(): Promise<void> {
    again = true;
    if (looking) return;
    looking = true;
    try {
      while (again) {
        again = false;
        await heedCancellations(turns);
      }
    } catch (error) {
      turns.log.error({ err: error }, "cancellations could not be looked for");
    } finally {
      looking = false;
    }
  }
  bus.listen((note, from) => {
    if (from === "elsewhere" && note.type === "changed" && turns.live.lines.has(note.conversationId)) void look();
  });
}

function bucketsFor({ RATE_LIMIT: rate }: Config, redis: Redis | null): Buckets | null {
  if (rate === null) return null;
  return redis ? sharedBuckets(rate, redis) : localBuckets(rate);
}
