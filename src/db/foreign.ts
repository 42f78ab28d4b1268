import { existsSync } from "node:fs";
import Database from "better-sqlite3";
import type postgres from "postgres";
import type { Migration } from "./migrate.ts";

/** Databases of other applications, which are refused and left as they are. */

/** What a start waits for a file that somebody else holds, in milliseconds. */
export const PATIENCE_MS = 250;
const JOURNAL = "__drizzle_migrations";

const foreign = (why: string) => new Error(`is not a database of Parley: ${why}; it is left as it is`);

/** A connection that changes nothing of the file, not even beside it. */
export function openToLook(path: string): Database.Database {
  // Who only reads leaves the files of a write-ahead log behind where there were none; a writer's close takes them away.
  const readonly = existsSync(`${path}-wal`);
  const client = new Database(path, { readonly, fileMustExist: true, timeout: PATIENCE_MS });
  client.pragma("query_only = 1");
  return client;
}

/** Throws where there are tables of another application, and none of Parley's migrations. */
export function refuseForeignTables(client: Database.Database): void {
  const found = client.prepare(
    "select name from sqlite_schema where type = 'table' and name not like 'sqlite!_%' escape '!'",
  );
  const tables = found.pluck().all() as string[];
  const [stranger] = tables.filter((name) => name !== JOURNAL);
  if (stranger !== undefined && !hasJournal(client))
    throw foreign(`it has the table ${stranger} of another application`);
}

function hasJournal(client: Database.Database): boolean {
  const columns = client
    .prepare("select count(*) from pragma_table_info(?) where name in ('hash', 'created_at')")
    .pluck();
  return columns.get(JOURNAL) === 2 && client.prepare(`select 1 from ${JOURNAL} limit 1`).get() !== undefined;
}

/** Throws where not one of the migrations that were applied is known here. */
export function refuseForeignJournal(known: ReadonlySet<string>, applied: readonly string[]): void {
  if (applied.length > 0 && !applied.some((hash) => known.has(hash))) {
    throw foreign("another application keeps its migrations in it");
  }
}

type Client = postgres.Sql | postgres.TransactionSql;

/** Throws where the first migrations would meet tables of another application, or the database holds no Unicode. */
export async function refuseForeignPostgres(
  client: Client,
  list: readonly Migration[],
  applied: readonly string[],
): Promise<void> {
  const [row] = await client`select current_setting('server_encoding') as encoding`;
  if (!/^(UTF8|SQL_ASCII)$/.test(row?.["encoding"])) {
    throw new Error(
      `has the encoding ${row?.["encoding"]}, which holds no other alphabets and no emoji: it has to be UTF8`,
    );
  }
  if (applied.length > 0) return;
  const wanted = list.flatMap(({ sql }) => sql.flatMap((text) => /^create table "?(\w+)/i.exec(text)?.[1] ?? []));
  const taken = await client`
    select tablename from pg_tables where schemaname = current_schema() and tablename in ${client(wanted)} limit 1`;
  if (taken[0]) throw foreign(`it has a table ${taken[0]["tablename"]} of another application`);
}
