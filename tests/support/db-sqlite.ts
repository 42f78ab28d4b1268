import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { inject, onTestFinished } from "vitest";
import type { Db } from "../../src/db/db.ts";
import { migrateSqlite } from "../../src/db/migrate.ts";
import { openClient, type Synchronous, sqliteDb } from "../../src/db/sqlite.ts";

/** A path in the run's folder that nothing stands at. */
export const freshPath = (): string => join(inject("folder"), `${randomUUID()}.db`);

/** A connection as Parley opens it, closed when the test is over. */
export function connect(path: string = freshPath(), synchronous: Synchronous = "normal"): Database.Database {
  const client = openClient(path, synchronous);
  onTestFinished(() => void client.close());
  return client;
}

/** Another program's connection, which never waits for a lock, closed when the test is over. */
export function connectPlainly(path: string): Database.Database {
  const client = new Database(path, { timeout: 0 });
  onTestFinished(() => void client.close());
  return client;
}

export type Opened = { path: string; db: Db; client: Database.Database; outside: Database.Database };

/** A migrated database with its connection in the open, and another program that looks at it. */
export function openSqlite(synchronous: Synchronous = "normal"): Opened {
  const path = freshPath();
  const client = connect(path, synchronous);
  migrateSqlite(client);
  client.pragma("wal_checkpoint(TRUNCATE)");
  return { path, db: sqliteDb(client), client, outside: connectPlainly(path) };
}

const WAL_HEADER = 32;
const FRAME_HEADER = 24;

/** How many transactions the write-ahead log holds: the last page of each carries the size of the database. */
export function commitsIn({ path, client }: Opened): number {
  const log = readFileSync(`${path}-wal`);
  const frame = FRAME_HEADER + Number(client.pragma("page_size", { simple: true }));
  let commits = 0;
  for (let at = WAL_HEADER; at < log.length; at += frame) if (log.readUInt32BE(at + 4) > 0) commits++;
  return commits;
}
