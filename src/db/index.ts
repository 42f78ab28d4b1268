import type { DatabaseAddress } from "./address.ts";
import { keepBeforeMigrating } from "./copy.ts";
import type { Db } from "./db.ts";
import { refuseUnfit } from "./inspect.ts";
import { migratePostgres, migrateSqlite } from "./migrate.ts";
import { bornFor } from "./outbox-tables.ts";
import * as postgres from "./postgres.ts";
import * as sqlite from "./sqlite.ts";

export { type DatabaseAddress, parseDatabaseUrl } from "./address.ts";

type OpenOptions = {
  synchronous?: sqlite.Synchronous;
  /** Whether there is a webhook, or Stream Chat, to tell of what is made from now on. */
  webhook?: boolean;
  stream?: boolean;
  /** Told of the file in which the database is kept as it was, where migrations are pending. */
  kept?: (file: string) => void;
};

/** Opens, makes if need be, and migrates the database. Throws when it can be reached by nobody, or is newer than the code. */
export async function openDatabase(
  address: DatabaseAddress,
  { synchronous = "full", kept = () => {}, ...outlets }: OpenOptions = {},
): Promise<Db> {
  const born = bornFor(outlets);
  if (address.dialect === "sqlite")
    return sqlite.sqliteDb(migratedSqlite(address.path, synchronous, kept).client, born);
  const { client } = await migratedPostgres(address.url);
  return postgres.postgresDb(client, postgres.openTransactions(address.url), born);
}

/** Migrates as `openDatabase` does, and no more; gives the tags of what it has applied. Throws alike. */
export async function migrateDatabase(address: DatabaseAddress, kept: (file: string) => void): Promise<string[]> {
  if (address.dialect === "sqlite") {
    const { client, applied } = migratedSqlite(address.path, "full", kept);
    client.close();
    return applied;
  }
  const { client, applied } = await migratedPostgres(address.url);
  await client.end();
  return applied;
}

function migratedSqlite(path: string, synchronous: sqlite.Synchronous, kept: (file: string) => void) {
  refuseUnfit(path);
  const client = sqlite.openClient(path, synchronous);
  try {
    const file = keepBeforeMigrating(client);
    if (file !== null) kept(file);
    return { client, applied: migrateSqlite(client) };
  } catch (error) {
    client.close();
    throw error;
  }
}

async function migratedPostgres(url: string) {
  const client = await postgres.openClient(url);
  try {
    return { client, applied: await migratePostgres(client) };
  } catch (error) {
    await client.end();
    throw error;
  }
}
