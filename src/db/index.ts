import type { DatabaseAddress } from "./address.ts";
import { keepBeforeMigrating } from "./copy.ts";
import type { Db } from "./db.ts";
import { refuseUnfit } from "./inspect.ts";
import { isBehind, migratePostgres, migrateSqlite } from "./migrate.ts";
import { bornFor } from "./outbox-tables.ts";
import * as postgres from "./postgres.ts";
import * as sqlite from "./sqlite.ts";
import { holdFile } from "./sqlite-file.ts";

export { type DatabaseAddress, parseDatabaseUrl } from "./address.ts";

type OpenOptions = {
  synchronous?: sqlite.Synchronous;
  /** Whether a SQLite file is held, so that no other process can open it in this way; Postgres is for many. */
  alone?: boolean;
  /** Whether there is a webhook, or Stream Chat, to tell of what is made from now on. */
  webhook?: boolean;
  stream?: boolean;
  /** Told of the file in which the database is kept as it was, where migrations are pending. */
  kept?: (file: string) => void;
  /** Told when a SQLite file turns out to be deleted or replaced under the service, and when it is back. */
  moved?: (isMoved: boolean) => void;
};

/** Opens, makes if need be, and migrates the database. Throws when it can be reached by nobody, or is newer than the code. */
export async function openDatabase(
  address: DatabaseAddress,
  { synchronous = "full", alone = false, kept = () => {}, moved = () => {}, ...outlets }: OpenOptions = {},
): Promise<Db> {
  const born = bornFor(outlets);
  if (address.dialect === "sqlite") {
    const { client, letGo } = migratedSqlite(address.path, { synchronous, alone, kept });
    return sqlite.sqliteDb(client, { born, letGo, moved });
  }
  const { client } = await migratedPostgres(address.url);
  return postgres.postgresDb(client, postgres.openTransactions(address.url), born);
}

/**
 * Migrates as `openDatabase` does, and no more; gives the tags of what it has applied. Throws alike, and where something
 * is pending on a SQLite file that a service has open.
 */
export async function migrateDatabase(address: DatabaseAddress, kept: (file: string) => void): Promise<string[]> {
  if (address.dialect === "sqlite") {
    const { client, applied, letGo } = migratedSqlite(address.path, { synchronous: "full", alone: "to migrate", kept });
    client.close();
    letGo?.();
    return applied;
  }
  const { client, applied } = await migratedPostgres(address.url);
  await client.end();
  return applied;
}

type Opening = Required<Pick<OpenOptions, "synchronous" | "kept">> & { alone: boolean | "to migrate" };

function migratedSqlite(path: string, { synchronous, alone, kept }: Opening) {
  refuseUnfit(path);
  const client = sqlite.openClient(path, synchronous);
  let letGo: (() => void) | undefined;
  try {
    const isHeld = alone === "to migrate" ? isBehind(client) : alone;
    if (isHeld && !client.memory) letGo = holdFile(path);
    const file = keepBeforeMigrating(client);
    if (file !== null) kept(file);
    return { client, letGo, applied: migrateSqlite(client) };
  } catch (error) {
    client.close();
    letGo?.();
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
