import { drizzle } from "drizzle-orm/postgres-js";
import postgres from "postgres";
import { clocks, postgresColumns } from "./columns.ts";
import { Conflict, type Db, preparer, type Source, type Step, verbsOf } from "./db.ts";
import { codeOf } from "./postgres-errors.ts";
import { postgresTurnWrites } from "./postgres-turns.ts";
import { makeTables } from "./tables.ts";

export const tables = makeTables(postgresColumns);
// drizzle-kit reads tables from the exports of this file.
export const { conversations, messages, messageExtensions, turns, idempotencyKeys, tombstones } = tables;

type Prepared = { execute(values: Step<unknown>["values"]): Promise<unknown[]> };
type Runner = Pick<postgres.Sql, "unsafe">;

const CONNECT_TIMEOUT_S = 10;
const MISSING_DATABASE = "3D000";
const DUPLICATE_DATABASE = "42P04";
const UNIQUE_VIOLATION = "23505";

/** Connects lazily. A database that does not exist yet is made, where the role may. */
export async function openClient(url: string, connections = 10): Promise<postgres.Sql> {
  const options = { max: connections, onnotice: () => {}, connect_timeout: CONNECT_TIMEOUT_S };
  const client = postgres(url, options);
  try {
    await client`select 1`;
  } catch (error) {
    if (codeOf(error) !== MISSING_DATABASE) {
      await client.end();
      throw error;
    }
    await createDatabase(url, client.options.database);
  }
  return client;
}

async function createDatabase(url: string, name: string) {
  const admin = postgres(url, { max: 1, onnotice: () => {}, database: "postgres" });
  try {
    await admin`create database ${admin(name)}`;
  } catch (error) {
    const code = codeOf(error);
    if (code !== DUPLICATE_DATABASE && code !== UNIQUE_VIOLATION) throw error; // somebody else was making it
  } finally {
    await admin.end();
  }
}

/** The database over a pool of Postgres connections. */
export function postgresDb(client: postgres.Sql): Db {
  // Drizzle binds a prepared statement to one client; this one hands each call to the transaction that is issuing it.
  let issuing: Runner = client;
  const unsafe: Runner["unsafe"] = (...args) => issuing.unsafe(...args);
  const router = { options: client.options, unsafe } as unknown as postgres.Sql;

  const verbs = verbsOf(drizzle({ client: router, casing: "snake_case" }));
  const source: Source = { ...verbs, tables, now: clocks.postgres };
  const prepare = preparer<Prepared>(source);

  function issue(runner: Runner, step: Step<unknown>): Promise<unknown[]> {
    issuing = runner;
    try {
      return prepare(step.statement).execute(step.values); // reaches the client before it first yields
    } finally {
      issuing = client;
    }
  }

  async function batch(steps: readonly Step<unknown>[]): Promise<unknown> {
    const done = client.begin(async (transaction) => {
      const rows = await Promise.all(steps.map((step) => issue(transaction, step))); // pipelined
      if (steps.some((step, i) => step.guard && rows[i]?.length === 0)) throw Conflict();
      return rows;
    });
    return done.catch((error) => {
      throw codeOf(error) === UNIQUE_VIOLATION ? Conflict() : error;
    });
  }

  return {
    ...source,
    all: (statement: never, values: never) => prepare(statement).execute(values) as never,
    batch: batch as never,
    turnWrites: postgresTurnWrites(client),
    ping: (ms: number) => within(ms, client`select 1`),
    close: () => client.end({ timeout: 5 }),
  };
}

async function within(ms: number, query: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${ms} ms`)), ms);
  });
  try {
    await Promise.race([query, late]);
  } finally {
    clearTimeout(timer);
  }
}
