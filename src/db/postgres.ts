import { drizzle } from "drizzle-orm/postgres-js";
import type postgres from "postgres";
import type { Carrier } from "./carrier.ts";
import { clocks, jsonFields, postgresColumns } from "./columns.ts";
import { Conflict, type Db, preparer, type Source, type Step, verbsOf } from "./db.ts";
import { type Born, bornFor } from "./outbox-tables.ts";
import { connectTo } from "./postgres-address.ts";
import { afterItsClose, codeOf, isGone, MISSING_DATABASE, UNIQUE_VIOLATION } from "./postgres-errors.ts";
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
type Runner = Pick<postgres.Sql, "unsafe">;

const CONNECT_TIMEOUT_S = 10;
const CLOSE_TIMEOUT_S = 5;
const RECONNECT_S = 0.25;
const IDLE_S = 60;
const DUPLICATE_DATABASE = "42P04";

const optionsOf = (connections: number) => ({
  max: connections,
  onnotice: () => {},
  connect_timeout: CONNECT_TIMEOUT_S,
  backoff: () => RECONNECT_S, // the driver's own grows to 20 s, and faster the more connections were lost at once
});

/**
 * Connections for transactions alone. The driver sends a BEGIN over a connection that is busy with other queries without
 * reserving it when its socket is full for a moment (porsager/postgres#1189); here every connection is idle before.
 */
export const openTransactions = (url: string, connections = 10): postgres.Sql =>
  connectTo(url, { ...optionsOf(connections), idle_timeout: IDLE_S });

/** Connects lazily. A database that does not exist yet is made, where the role may. */
export async function openClient(url: string, connections = 10): Promise<postgres.Sql> {
  const client = connectTo(url, optionsOf(connections));
  try {
    // The driver goes on trying for ever where somebody listens who is no Postgres.
    await within(CONNECT_TIMEOUT_S * 1000, client`select 1`);
  } catch (error) {
    if (codeOf(error) !== MISSING_DATABASE) {
      await client.end({ timeout: 0 });
      throw error;
    }
    await createDatabase(url, client.options.database);
  }
  return client;
}

async function createDatabase(url: string, name: string) {
  const admin = connectTo(url, { max: 1, onnotice: () => {}, database: "postgres" });
  try {
    await admin`create database ${admin(name)} encoding 'UTF8' template template0`;
  } catch (error) {
    const code = codeOf(error);
    if (code !== DUPLICATE_DATABASE && code !== UNIQUE_VIOLATION) throw error; // somebody else was making it
  } finally {
    await admin.end();
  }
}

/** The database over a pool of Postgres connections, and another one for transactions. */
export function postgresDb(client: postgres.Sql, transactions: postgres.Sql, born: Born = bornFor({})): Db {
  // Drizzle binds a prepared statement to one client; this one hands each call to the transaction that is issuing it.
  let issuing: Runner = client;
  let closed = false;
  const unsafe = (...args: Parameters<Runner["unsafe"]>) => patiently(issuing.unsafe(...args));
  const router = { options: client.options, unsafe } as unknown as postgres.Sql;

  const verbs = verbsOf(drizzle({ client: router, casing: "snake_case" }));
  // Drizzle lets its own client send JSON as the text that it is; the others would send a JSON string that holds it.
  Object.assign(transactions.options.parsers, client.options.parsers);
  Object.assign(transactions.options.serializers, client.options.serializers);
  const source: Source = { ...verbs, ...jsonFields.postgres, tables, now: clocks.postgres, born };
  const prepare = preparer<Prepared>(source);

  function issue(runner: Runner, step: Step<unknown>): Promise<unknown[]> {
    issuing = runner;
    try {
      return prepare(step.statement).execute(step.values); // reaches the client before it first yields
    } finally {
      issuing = client;
    }
  }

  // One statement needs no transaction, which saves two round trips.
  async function alone(step: Step<unknown>): Promise<unknown[]> {
    const rows = await issue(client, step).catch(conflictIfTaken);
    if (step.guard && rows.length === 0) throw Conflict();
    return rows;
  }

  async function batch(steps: readonly Step<unknown>[]): Promise<unknown> {
    if (closed) throw new Error("the database is closed"); // the driver would wait for ever
    const [only, ...rest] = steps;
    if (only && rest.length === 0) return [await alone(only)];
    const done = transactions.begin(async (transaction) => {
      const settled = await Promise.allSettled(steps.map((step) => issue(transaction, step))); // pipelined
      // `begin` rejects when the connection closes. Were this to reject first, the driver would write its ROLLBACK to a
      // socket that is gone, outside of any promise, and end the process (porsager/postgres#1208).
      if (settled.some((result) => result.status === "rejected" && isGone(result.reason))) await never;
      return settled.map((result, i) => {
        // In order: what fails behind a guard without a row has failed because of it.
        if (result.status === "rejected") throw result.reason;
        if (steps[i]?.guard && result.value.length === 0) throw Conflict();
        return result.value;
      });
    });
    return done.catch(afterItsClose).catch(conflictIfTaken);
  }

  const db: Db = {
    ...source,
    all: (statement: never, values: never) => prepare(statement).execute(values) as never,
    batch: batch as never,
    turnWrites: postgresTurnWrites(
      client,
      batchedTurnWrites(() => db),
      born,
    ),
    onCommit: () => {},
    carrier: notifications(client),
    isAlone: false,
    ping: async (ms: number) => void (await within(ms, client`select 1`)),
    settleErasure: async () => {},
    async close() {
      closed = true;
      await Promise.all([client, transactions].map((pool) => pool.end({ timeout: CLOSE_TIMEOUT_S })));
    },
  };
  return db;
}

const CHANNEL = "parley_notes";
/** Postgres takes fewer than 8,000 bytes. */
const LONGEST_NOTE = 7_900;

/** LISTEN and NOTIFY. The driver listens over a connection of its own, and takes it up again when it is lost. */
const notifications = (client: postgres.Sql): Carrier => ({
  longest: LONGEST_NOTE,
  carriesTyping: false,
  publish: async (text) => void (await client.notify(CHANNEL, text)),
  async subscribe(hear) {
    const { unlisten } = await client.listen(CHANNEL, hear);
    return unlisten;
  },
});

function conflictIfTaken(error: unknown): never {
  throw codeOf(error) === UNIQUE_VIOLATION ? Conflict() : error;
}

const never = new Promise<never>(() => {});

type Waiting = Pick<postgres.PendingQuery<postgres.Row[]>, "catch" | "values">;

/** A query whose loss is told a moment late. */
const patiently = (query: Waiting): object => ({
  values: () => patiently(query.values() as unknown as Waiting),
  // biome-ignore lint/suspicious/noThenProperty: it stands in for the driver's own promise, which Drizzle awaits
  then: (kept: () => unknown, broken: () => unknown) => query.catch(afterItsClose).then(kept, broken),
});
