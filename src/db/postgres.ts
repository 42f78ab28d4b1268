import { drizzle } from "drizzle-orm/postgres-js";
import type postgres from "postgres";
import { clocks, jsonFields, postgresColumns } from "./columns.ts";
import { Conflict, type Db, preparer, type Source, type Step, verbsOf } from "./db.ts";
import { type Born, bornFor } from "./outbox-tables.ts";
import { codeOf, isGone, READ_ONLY, UNIQUE_VIOLATION } from "./postgres-errors.ts";
import { notifications } from "./postgres-notes.ts";
import { openPools } from "./postgres-pools.ts";
import type { Server } from "./postgres-server.ts";
import { sizesOf } from "./postgres-sizes.ts";
import { postgresTurnWrites } from "./postgres-turns.ts";
import { makeTables } from "./tables.ts";
import { batchedTurnWrites } from "./turn-writes.ts";
import { within } from "./within.ts";

export const tables = makeTables(postgresColumns);
// drizzle-kit reads tables from the exports of this file.
export const {
  conversations,
  messages,
  messageExtensions,
  turns,
  idempotencyKeys,
  tombstones,
  readMarkers,
  erasures,
  deliveries,
  mirrorings,
  streamMessages,
  streamChannels,
  streamEvents,
} = tables;

type Prepared = { execute(values: Step<unknown>["values"]): Promise<unknown[]> };
type Ask = (...args: Parameters<postgres.Sql["unsafe"]>) => postgres.PendingQuery<postgres.Row[]>;

export type PostgresOptions = {
  born?: Born;
  /** Connections that it may have. */
  poolMax?: number;
};

/** The database over pools of connections to a Postgres server. */
export function postgresDb(server: Server, { born = bornFor({}), poolMax }: PostgresOptions = {}): Db {
  // Drizzle binds a prepared statement to one client; this one hands each call to the transaction that is issuing it.
  let issuing: Ask = outside;
  const ask: Ask = (...args) => issuing(...args);
  const router = { options: { parsers: {}, serializers: {} }, unsafe: ask };
  const verbs = verbsOf(drizzle({ client: router as unknown as postgres.Sql, casing: "snake_case" }));
  // Drizzle lets its own client send JSON as the text that it is; the others would send a JSON string that holds it.
  const sizes = sizesOf(server, poolMax);
  const pools = openPools(server, sizes, ({ options }) => {
    Object.assign(options.parsers, router.options.parsers);
    Object.assign(options.serializers, router.options.serializers);
  });
  const source: Source = { ...verbs, ...jsonFields.postgres, tables, now: clocks.postgres, born };
  const prepare = preparer<Prepared>(source);

  function outside(...args: Parameters<Ask>): ReturnType<Ask> {
    return lazily((asArrays) => pools.statement<unknown>((client) => form(client.unsafe(...args), asArrays)));
  }

  function issue(ask: Ask, step: Step<unknown>): Promise<unknown[]> {
    issuing = ask;
    try {
      return prepare(step.statement).execute(step.values); // reaches the client before it first yields
    } finally {
      issuing = outside;
    }
  }

  // One statement needs no transaction, which saves two round trips.
  async function alone(step: Step<unknown>): Promise<unknown[]> {
    const rows = await issue(outside, step).catch(conflictIfTaken);
    if (step.guard && rows.length === 0) throw Conflict();
    return rows;
  }

  async function batch(steps: readonly Step<unknown>[]): Promise<unknown> {
    const [only, ...rest] = steps;
    if (only && rest.length === 0) return [await alone(only)];
    const done = pools.transaction(async ({ unsafe }) => {
      // Pipelined. Behind a guard without a row the server carries out nothing more.
      const sent = steps.map((step) => issue(step.guard ? guarding(unsafe) : unsafe, step));
      const settled = await Promise.allSettled(sent);
      for (const result of settled) if (result.status === "rejected" && isGone(result.reason)) throw result.reason;
      return settled.map((result, i) => {
        // In order: what fails behind a guard without a row has failed because of it.
        if (result.status === "fulfilled") return result.value;
        throw steps[i]?.guard && codeOf(result.reason) === NO_ROW ? Conflict() : result.reason;
      });
    });
    return done.catch(conflictIfTaken);
  }

  const db: Db = {
    ...source,
    all: (statement: never, values: never) => prepare(statement).execute(values) as never,
    batch: batch as never,
    turnWrites: postgresTurnWrites(
      (text, values) => pools.statement((client) => client.unsafe(text, [...values], { prepare: true })),
      batchedTurnWrites(() => db),
      born,
    ),
    onCommit: () => {},
    carrier: sizes.listens ? notifications(server, pools) : null,
    isAlone: false,
    settleErasure: async () => {},
    async ping(ms: number) {
      const [row] = await within(
        ms,
        pools.statement((client) => client.unsafe(IS_READ_ONLY)),
      );
      if (!row?.["read_only"]) return;
      pools.renew();
      throw Object.assign(new Error("the database is read-only"), { code: READ_ONLY });
    },
    close: pools.close,
  };
  return db;
}

const IS_READ_ONLY = "select pg_is_in_recovery() or current_setting('transaction_read_only')::boolean as read_only";

// A guard without a row divides by zero, which ends the transaction at once.
const NO_ROW = "22012";
const guards = new Map<string, string>();

function guardOf(text: string): string {
  const known = guards.get(text);
  if (known !== undefined) return known;
  const made = `with guard as (${text}) select guard.*, 1 / (select count(*) from guard) from (select 1) once left join guard on true`;
  guards.set(text, made);
  return made;
}

const guarding =
  (unsafe: Ask): Ask =>
  (text, ...rest) =>
    unsafe(guardOf(text), ...rest);

const form = (query: ReturnType<Ask>, asArrays: boolean): PromiseLike<unknown> => (asArrays ? query.values() : query);

/** What Drizzle takes for a query of the driver's: it is begun when somebody waits for it. */
const lazily = (run: (asArrays: boolean) => Promise<unknown>, asArrays = false): ReturnType<Ask> =>
  ({
    values: () => lazily(run, true),
    // biome-ignore lint/suspicious/noThenProperty: it stands in for the driver's own promise, which Drizzle awaits
    then: (kept: () => unknown, broken: () => unknown) => run(asArrays).then(kept, broken),
  }) as unknown as ReturnType<Ask>;

function conflictIfTaken(error: unknown): never {
  throw codeOf(error) === UNIQUE_VIOLATION ? Conflict() : error;
}
