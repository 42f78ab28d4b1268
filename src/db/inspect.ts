import { accessSync, constants, existsSync } from "node:fs";
import { dirname, resolve } from "node:path";
import Database from "better-sqlite3";
import type postgres from "postgres";
import { migrations } from "../../drizzle/migrations.ts";
import type { DatabaseAddress } from "./address.ts";
import { openToLook, PATIENCE_MS, refuseForeignPostgres, refuseForeignTables } from "./foreign.ts";
import { readJournal } from "./journal.ts";
import { appliedOn, hashesOf, pending } from "./migrate.ts";
import { connectTo } from "./postgres-address.ts";
import { codeOf, MISSING_DATABASE } from "./postgres-errors.ts";
import { isHeld } from "./sqlite-hold.ts";
import { within } from "./within.ts";

const PATIENCE_S = 5;

/**
 * How a database is, looked at without changing it: migrations that are applied, and that the next start would apply;
 * whether another process serves the file, so that a start would be refused.
 */
export type Inspection = { exists: false } | { exists: true; applied: number; pending: number; isServed: boolean };

/** Throws where it cannot be reached or written, or is newer than this code. */
export async function inspectDatabase(address: DatabaseAddress): Promise<Inspection> {
  return address.dialect === "sqlite" ? inspectSqlite(address.path) : inspectPostgres(address.url);
}

function inspectSqlite(path: string): Inspection {
  if (path === ":memory:") return { exists: false };
  if (!existsSync(path)) {
    accessSync(nearestFolder(path), constants.W_OK);
    return { exists: false };
  }
  for (const written of [dirname(path), path]) accessSync(written, constants.W_OK);
  const client = openToLook(path);
  try {
    refuseForeignTables(client);
    const state = stateOf(migrations.sqlite, appliedOn(client));
    takeWriteLock(path);
    return { ...state, isServed: isHeld(path) };
  } finally {
    client.close();
  }
}

/** Throws where a start would not take the file, before it is opened to be written: it is another's, or newer than this code. */
export function refuseUnfit(path: string): void {
  if (path === ":memory:" || !existsSync(path)) return;
  const client = openToLook(path);
  try {
    refuseForeignTables(client);
    pending(migrations.sqlite, appliedOn(client));
  } finally {
    client.close();
  }
}

/** In which a start makes what is missing on the way. */
function nearestFolder(path: string): string {
  const folder = dirname(resolve(path));
  return existsSync(folder) ? folder : nearestFolder(folder);
}

/** A start begins by writing. The reader that is open meanwhile keeps this close from clearing somebody's log away. */
function takeWriteLock(path: string): void {
  const client = new Database(path, { fileMustExist: true, timeout: PATIENCE_MS });
  try {
    client.exec("begin immediate; rollback");
  } finally {
    client.close();
  }
}

async function inspectPostgres(url: string): Promise<Inspection> {
  const client = connectTo(url, { max: 1, connect_timeout: PATIENCE_S, onnotice: () => {} });
  try {
    return await within(PATIENCE_S * 1000, lookAt(client));
  } catch (error) {
    if (codeOf(error) === MISSING_DATABASE) return { exists: false };
    throw error;
  } finally {
    await client.end({ timeout: 1 });
  }
}

async function lookAt(client: postgres.Sql): Promise<Inspection> {
  const { applied } = await readJournal(client, hashesOf(migrations.postgres));
  const state = stateOf(migrations.postgres, applied);
  await refuseForeignPostgres(client, migrations.postgres, applied);
  return state;
}

function stateOf(list: (typeof migrations)["sqlite"], applied: readonly string[]) {
  return { exists: true as const, applied: applied.length, pending: pending(list, applied).length, isServed: false };
}
