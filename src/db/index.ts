import type { DatabaseAddress } from "./address.ts";
import { keepBeforeMigrating } from "./copy.ts";
import type { Db } from "./db.ts";
import { refuseUnfit } from "./inspect.ts";
import { isBehind, migratePostgres, migrateSqlite } from "./migrate.ts";
import { bornFor } from "./outbox-tables.ts";
import * as postgres from "./postgres.ts";
import { clientOf, meet, TIMEOUT_MS } from "./postgres-server.ts";
import { linesOf } from "./postgres-sizes.ts";
import * as sqlite from "./sqlite.ts";
import type { FileState } from "./sqlite-file.ts";
import { type Hold, holdFile, refuseShared } from "./sqlite-hold.ts";
import { damaged, isDamaged } from "./trouble.ts";

export { type DatabaseAddress, parseDatabaseUrl } from "./address.ts";

export { TIMEOUT_MS } from "./postgres-server.ts";
export { POOL_LEAST, POOL_MAX } from "./postgres-sizes.ts";

type OpenOptions = {
  synchronous?: sqlite.Synchronous;
  /** Whether a SQLite file is held, so that no other process can open it in this way; Postgres is for many. */
  alone?: boolean;
  /** Whether there is a webhook, or Stream Chat, to tell of what is made from now on. */
  webhook?: boolean;
  stream?: boolean;
  /** How long a statement may take on Postgres, in milliseconds, and how many connections there may be. */
  timeoutMs?: number;
  poolMax?: number;
  /** Told in a line what is made of a Postgres server that has a pooler before it, or few connections. */
  told?: (line: string) => void;
  /** Told of the file in which the database is kept as it was, where migrations are pending. */
  kept?: (file: string) => void;
  /** Told when a SQLite file turns out to be no longer the service's to write, and when it is again. */
  moved?: (state: FileState) => void;
};

/** Opens, makes if need be, and migrates the database. Throws when it can be reached by nobody, or is newer than the code. */
export async function openDatabase(
  address: DatabaseAddress,
  {
    synchronous = "full",
    alone = false,
    kept = () => {},
    moved = () => {},
    timeoutMs = TIMEOUT_MS,
    told = () => {},
    ...options
  }: OpenOptions = {},
): Promise<Db> {
  const born = bornFor(options);
  if (address.dialect === "sqlite") {
    const { client, hold } = migratedSqlite(address.path, { synchronous, alone, kept });
    return sqlite.sqliteDb(client, { born, hold, moved });
  }
  const { server } = await migratedPostgres(address.url, timeoutMs);
  for (const line of linesOf(server, options.poolMax)) told(line);
  return postgres.postgresDb(server, { ...options, born });
}

/**
 * Migrates as `openDatabase` does, and no more; gives the tags of what it has applied. Throws alike, and where something
 * is pending on a SQLite file that a service has open.
 */
export async function migrateDatabase(address: DatabaseAddress, kept: (file: string) => void): Promise<string[]> {
  if (address.dialect === "sqlite") {
    const { client, applied, hold } = migratedSqlite(address.path, { synchronous: "full", alone: "to migrate", kept });
    client.close();
    hold?.letGo();
    return applied;
  }
  return (await migratedPostgres(address.url, TIMEOUT_MS)).applied;
}

type Opening = Required<Pick<OpenOptions, "synchronous" | "kept">> & { alone: boolean | "to migrate" };

function migratedSqlite(path: string, opening: Opening) {
  try {
    return migrated(path, opening);
  } catch (error) {
    throw isDamaged(error) ? damaged(path, error) : error;
  }
}

function migrated(path: string, { synchronous, alone, kept }: Opening) {
  refuseUnfit(path);
  if (alone === true) refuseShared(path);
  const client = sqlite.openClient(path, synchronous);
  let hold: Hold | undefined;
  try {
    const isHeld = alone === "to migrate" ? isBehind(client) : alone;
    if (isHeld && !client.memory) hold = holdFile(path);
    const file = keepBeforeMigrating(client);
    if (file !== null) kept(file);
    return { client, hold, applied: migrateSqlite(client) };
  } catch (error) {
    client.close();
    hold?.letGo();
    throw error;
  }
}

async function migratedPostgres(url: string, timeoutMs: number) {
  const server = await meet(url, timeoutMs);
  const client = clientOf(server, { max: 1 });
  try {
    return { server, applied: await migratePostgres(client) };
  } finally {
    await client.end({ timeout: 0 });
  }
}
