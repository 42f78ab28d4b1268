import { setTimeout as sleep } from "node:timers/promises";
import type postgres from "postgres";
import { connectTo, readPostgresUrl } from "./postgres-address.ts";
import { codeOf, isCrowded, isOfPooler, MISSING_DATABASE, UNIQUE_VIOLATION } from "./postgres-errors.ts";
import { within } from "./within.ts";

/** What is known of a Postgres server before it is put to use. */
export type Server = {
  readonly url: string;
  /** How long a statement may take, in milliseconds. */
  readonly timeoutMs: number;
  /** A pooler hands each transaction another connection: nothing that a connection is told holds for the next one. */
  isPooled: boolean;
  /** Connections that the role, or the database, may have; null for no limit of its own. */
  readonly limit: number | null;
};

/** How long a statement may take where nothing is said of it, in milliseconds. */
export const TIMEOUT_MS = 10_000;
const CONNECT_TIMEOUT_S = 10;
const RECONNECT_S = 0.25;
const DUPLICATE_DATABASE = "42P04";
/** The server's own deadline comes first, so that a slow statement has an answer and its connection stays. */
const EARLIER = 0.95;

type Options = postgres.Options<Record<string, never>>;

/** Connects lazily, with what every connection is told. */
export function clientOf({ url, timeoutMs, isPooled }: Omit<Server, "limit">, options: Options): postgres.Sql {
  const { host = [], target_session_attrs: attrs } = readPostgresUrl(url).options;
  const ms = Math.max(1, Math.floor(timeoutMs * EARLIER));
  const settings = {
    default_transaction_isolation: "read committed" as const,
    statement_timeout: ms,
    idle_in_transaction_session_timeout: ms,
  };
  return connectTo(url, {
    onnotice: () => {},
    connect_timeout: Math.min(CONNECT_TIMEOUT_S, timeoutMs / 1000),
    backoff: () => RECONNECT_S, // the driver's own grows to 20 s, and faster the more connections were lost at once
    keep_alive: 30,
    ...(isPooled ? { prepare: false } : { connection: settings }),
    // What the driver calls read-write is also a standby.
    ...(attrs === "read-write" || (!attrs && host.length > 1) ? { target_session_attrs: "primary" } : {}),
    ...options,
  });
}

/** Looks at a server. A database that does not exist yet is made, where the role may. Throws where it cannot be reached. */
export async function meet(url: string, timeoutMs: number): Promise<Server> {
  const until = performance.now() + timeoutMs;
  let isPooled = looksPooled(url);
  for (;;) {
    try {
      return await look({ url, timeoutMs, isPooled });
    } catch (error) {
      if (codeOf(error) === MISSING_DATABASE) await createDatabase(url);
      else if (isOfPooler(error) && !isPooled) isPooled = true;
      else if (!isCrowded(error) || performance.now() > until) throw error;
      else await sleep(100 + Math.random() * 400);
    }
  }
}

/** The names and ports under which poolers are sold. */
function looksPooled(url: string): boolean {
  const { prepare, host = [], port = [] } = readPostgresUrl(url).options;
  const isPoolers = (name: string, i: number) =>
    /-pooler\.|\.pooler\./.test(name) || [6432, 6543].includes(port[i] ?? 0);
  return prepare === false || host.some(isPoolers);
}

const QUESTION = `
  select pg_backend_pid() as pid,
    (select case when rolsuper then -1 else rolconnlimit end from pg_roles where rolname = current_user) as role,
    (select datconnlimit from pg_database where datname = current_database()) as database`;

async function look(server: Omit<Server, "limit">): Promise<Server> {
  const client = clientOf(server, { max: 1 });
  try {
    // The driver goes on trying for ever where somebody listens who is no Postgres.
    const rows = await within(server.timeoutMs, Promise.resolve(client.unsafe(QUESTION)));
    const { pid, role, database } = rows[0] as { pid?: number; role?: number; database?: number };
    // A pooler tells each client a process of its own making.
    const isPooled = server.isPooled || pid !== (rows as { state?: { pid?: number } }).state?.pid;
    const limits = [role, database].filter((limit) => limit !== undefined && limit > 0) as number[];
    return { ...server, isPooled, limit: isPooled || limits.length === 0 ? null : Math.min(...limits) };
  } finally {
    await client.end({ timeout: 0 });
  }
}

async function createDatabase(url: string) {
  const { database: name } = connectTo(url, {}).options;
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
