import { existsSync } from "node:fs";
import Database from "better-sqlite3";
import type { DatabaseAddress } from "./address.ts";
import { copySqlite } from "./copy.ts";

/** What another process may hold the file for, while it recovers or closes it, in milliseconds. */
const PATIENCE_MS = 5_000;

/**
 * Writes all that is committed to `file`, beside a service that goes on writing. Throws, and leaves nothing, where that
 * file is there already, or there is nothing to be backed up in this way.
 */
export function backupDatabase(address: DatabaseAddress, file: string): void {
  if (address.dialect === "postgres")
    throw new Error('Postgres has a tool of its own: pg_dump --format=custom --file=FILE "$DATABASE_URL"');
  if (address.path === ":memory:") throw new Error("a database in memory ends with its process: nothing to back up");
  if (!existsSync(address.path)) throw new Error(`there is no database at ${address.path}`);
  const client = new Database(address.path, { fileMustExist: true, timeout: PATIENCE_MS });
  try {
    copySqlite(client, file);
  } finally {
    client.close();
  }
}
