import { accessSync, constants, existsSync } from "node:fs";
import { dirname } from "node:path";
import Database from "better-sqlite3";
import postgres from "postgres";
import { migrations } from "../../drizzle/migrations.ts";
import type { DatabaseAddress } from "./index.ts";
import { appliedOn, pending } from "./migrate.ts";
import { codeOf, MISSING_DATABASE } from "./postgres-errors.ts";

const PATIENCE_S = 5;

/** How a database is, looked at without changing it: migrations that are applied, and that the next start would apply. */
export type Inspection = { exists: false } | { exists: true; applied: number; pending: number };

/** Throws where it cannot be reached or written, or is newer than this code. */
export async function inspectDatabase(address: DatabaseAddress): Promise<Inspection> {
  return address.dialect === "sqlite" ? inspectSqlite(address.path) : inspectPostgres(address.url);
}

function inspectSqlite(path: string): Inspection {
  if (path === ":memory:" || !existsSync(path)) return { exists: false };
  for (const written of [dirname(path), path]) accessSync(written, constants.W_OK);
  // Who only reads leaves the files of a write-ahead log behind where there were none; a writer's close takes them away.
  const client = new Database(path, { readonly: existsSync(`${path}-wal`), fileMustExist: true });
  try {
    client.pragma("query_only = 1");
    return stateOf(migrations.sqlite, appliedOn(client));
  } finally {
    client.close();
  }
}

async function inspectPostgres(url: string): Promise<Inspection> {
  const client = postgres(url, { max: 1, connect_timeout: PATIENCE_S, onnotice: () => {} });
  try {
    const [there] = await client`select to_regclass('drizzle.__drizzle_migrations') is not null as found`;
    const rows = there?.["found"]
      ? await client<{ hash: string }[]>`select hash from drizzle.__drizzle_migrations`
      : [];
    return stateOf(
      migrations.postgres,
      rows.map((row) => row.hash),
    );
  } catch (error) {
    if (codeOf(error) === MISSING_DATABASE) return { exists: false };
    throw error;
  } finally {
    await client.end({ timeout: 1 });
  }
}

function stateOf(list: (typeof migrations)["sqlite"], applied: readonly string[]): Inspection {
  return { exists: true, applied: applied.length, pending: pending(list, applied).length };
}
