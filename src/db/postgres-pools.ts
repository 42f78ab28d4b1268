import { setTimeout as sleep } from "node:timers/promises";
import type postgres from "postgres";
import {
  afterItsClose,
  codeOf,
  isCrowded,
  isGone,
  isLostRace,
  isOfPooler,
  READ_ONLY,
  tooLate,
} from "./postgres-errors.ts";
import { clientOf, type Server } from "./postgres-server.ts";
import type { Sizes } from "./postgres-sizes.ts";

/** The connections of this process to a Postgres server, each call of which ends in its time. */
export type Pools = {
  /** Runs one statement. Tries again what lost a race or found no connection, until its time is over. */
  statement<R>(start: (client: postgres.Sql) => PromiseLike<R>): Promise<R>;
  /** The same with a transaction. `work` may be run again, and nothing of it is kept unless this resolves. */
  transaction<R>(work: (transaction: postgres.TransactionSql) => Promise<R>): Promise<R>;
  /** From now on there are new connections, to whichever server the address leads to now. */
  renew(): void;
  close(): Promise<void>;
};

/** `running` are the transactions that have a connection or wait for one, in their order. */
type Clients = { statements: postgres.Sql; transactions: postgres.Sql; running: Set<object> };
/** What is waited for: until when, whether the server has had nothing of it that counts, and what takes the rest back. */
type Work = { until: number; isUntouched(): boolean; hasConnection(): boolean; drop(): void };
type Try = { used: Clients; work: Work; reject(error: unknown): void };

const CLOSE_TIMEOUT_S = 5;
const IDLE_S = 60;
/** A pooler gives the connection away at the end of one statement, though the next was sent already. */
const ALONE = { max_pipeline: 0 };
/** The old connections of a pool are busy for a while after it was renewed; more often they would pile up. */
const RENEW_PAUSE_MS = 1_000;
const SWEEP_MS = 250;
const RACES = 5;
const RACE_PAUSE_MS = 10;
const CROWD_PAUSE_MS = 100;

const moved = Object.assign(new Error("the connections were renewed before this was sent"), { code: "ETIMEDOUT" });

/**
 * Opens the pools, each connection when it is first needed. Transactions have a pool of their own: the driver sends a
 * BEGIN over a connection that is busy with other queries without reserving it when its socket is full for a moment
 * (porsager/postgres#1189); there every connection is idle before. `adapt` is given each client that is made.
 */
export function openPools(
  server: Server,
  sizes: Pick<Sizes, "statements" | "transactions">,
  adapt: (client: postgres.Sql) => void,
): Pools {
  const { timeoutMs } = server;
  const tries = new Set<Try>();
  let clients = make();
  let renewedAt = Number.NEGATIVE_INFINITY;
  let closed = false;

  function make(): Clients {
    const statements = clientOf(server, { max: sizes.statements, idle_timeout: IDLE_S, ...(server.isPooled && ALONE) });
    const transactions = clientOf(server, { max: sizes.transactions, idle_timeout: IDLE_S });
    for (const client of [statements, transactions]) adapt(client);
    return { statements, transactions, running: new Set() };
  }

  function renew(old: Clients, pauseMs = RENEW_PAUSE_MS): void {
    if (closed || clients !== old || performance.now() - renewedAt < pauseMs) return;
    renewedAt = performance.now();
    clients = make();
    for (const client of [old.statements, old.transactions]) void client.end({ timeout: timeoutMs / 1000 });
    for (const one of [...tries]) if (one.work.isUntouched()) giveUp(one, moved);
  }

  function wait<R>(used: Clients, query: Promise<R>, work: Work): Promise<R> {
    const { promise, resolve, reject } = Promise.withResolvers<R>();
    const one = { used, work, reject };
    tries.add(one);
    query.then(
      (result) => {
        tries.delete(one);
        resolve(result);
      },
      (error) => {
        tries.delete(one);
        afterItsClose(error).catch(reject);
      },
    );
    return promise;
  }

  /** Ends a try, of which nothing more is done. */
  function giveUp(one: Try, error: Error): void {
    tries.delete(one);
    one.work.drop();
    one.reject(error);
  }

  // One timer for all: one of its own for each statement costs as much as all else here.
  const timer = setInterval(
    () => {
      const now = performance.now();
      for (const one of tries) {
        if (now < one.work.until) continue;
        if (one.work.hasConnection()) renew(one.used, timeoutMs); // which has fallen silent
        giveUp(one, tooLate(timeoutMs));
      }
    },
    Math.min(SWEEP_MS, timeoutMs / 10),
  ).unref();

  async function persist<R>(attempt: (used: Clients, until: number) => Promise<R>): Promise<R> {
    const until = performance.now() + timeoutMs;
    for (let n = 0; ; n++) {
      if (closed) throw new Error("the database is closed"); // the driver would wait for ever
      const used = clients;
      try {
        return await attempt(used, until);
      } catch (error) {
        heed(error, used);
        await pauseAfter(error, n, until);
      }
    }
  }

  function heed(error: unknown, used: Clients): void {
    if (codeOf(error) === READ_ONLY) renew(used);
    if (!isOfPooler(error)) return;
    server.isPooled = true;
    renew(used, 0);
  }

  return {
    statement: <R>(start: (client: postgres.Sql) => PromiseLike<R>) =>
      persist<R>((used, until) => {
        const query = start(used.statements) as Query<R>;
        const isUntouched = () => query.state === null;
        const hasConnection = () => query.state !== null;
        return wait(used, query, { until, isUntouched, hasConnection, drop: () => disarm(query) });
      }),
    transaction: (work) =>
      persist((used, until) => {
        const at = { isBegun: false, isDropped: false };
        used.running.add(at);
        const done = used.transactions.begin("isolation level read committed", async (transaction) => {
          if (at.isDropped) throw moved;
          at.isBegun = true;
          const result = await keptFromRollback(work(transaction));
          if (at.isDropped) throw tooLate(timeoutMs); // whoever asked was told so: nothing of it is kept
          return result;
        });
        const running = {
          until,
          isUntouched: () => !at.isBegun,
          hasConnection: () => [...used.running].indexOf(at) < sizes.transactions,
          drop: () => Object.assign(at, { isDropped: true }),
        };
        const over = done.finally(() => used.running.delete(at));
        return wait(used, over as ReturnType<typeof work>, running);
      }),
    renew: () => renew(clients),
    async close() {
      closed = true;
      clearInterval(timer);
      const { statements, transactions } = clients;
      await Promise.all([statements, transactions].map((client) => client.end({ timeout: CLOSE_TIMEOUT_S })));
    },
  };
}

/** The driver's query; it has the state of a connection once it is given to one. */
type Query<R> = Promise<R> & { state: unknown; strings: string[]; args: unknown[] };

/** Makes a query harmless that nobody waits for any more: the driver loses a connection whose first query is cancelled. */
const disarm = (query: Pick<Query<unknown>, "strings" | "args">): void =>
  void Object.assign(query, { strings: ["select 1"], args: [] });

/**
 * `begin` rejects when the connection closes. Were its work to reject first, the driver would write its ROLLBACK to a
 * socket that is gone, outside of any promise, and end the process (porsager/postgres#1208).
 */
const keptFromRollback = <R>(work: Promise<R>): Promise<R> =>
  work.catch((error) => {
    if (isGone(error)) return new Promise<never>(() => {});
    throw error;
  });

/** Resolves when it is time to try again. Throws the error where that is of no use, or too late. */
async function pauseAfter(error: unknown, tries: number, until: number): Promise<void> {
  const ms = pauseMs(error, tries);
  if (ms === null || performance.now() + ms >= until) throw error;
  if (ms > 0) await sleep(ms);
}

function pauseMs(error: unknown, tries: number): number | null {
  if (error === moved) return 0;
  if (isCrowded(error)) return (0.5 + Math.random()) * CROWD_PAUSE_MS;
  if (tries >= RACES) return null;
  if (isOfPooler(error)) return 0;
  return isLostRace(error) ? (0.5 + Math.random()) * RACE_PAUSE_MS * 2 ** tries : null;
}
