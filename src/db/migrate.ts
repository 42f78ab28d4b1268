import type Database from "better-sqlite3";
import type postgres from "postgres";
import { migrations } from "../../drizzle/migrations.ts";
import { refuseForeignJournal, refuseForeignPostgres } from "./foreign.ts";
import { openJournal, readJournal, record } from "./journal.ts";
import { codeOf, NO_PRIVILEGE } from "./postgres-errors.ts";

export type Migration = { tag: string; when: number; sha256: string; sql: readonly string[] };

const LOCK = 7_272_539; // any number, as long as every Parley takes the same

/** A migration that was rewritten when there were databases of it already: by what hash those know it, and what they lack. */
const FIRST = {
  tag: "0000_init",
  hashes: [
    "67e39c9838101eb04f4624d359a8287cb6f961bc03f2934439465533b786e039",
    "a3bf556306abb75e1da62939d697423a07ff6eb1a68a5c416843115d0441cd3a",
  ],
  lacks: [
    `alter table conversations add last_seq integer default 0 not null`,
    `update conversations set last_seq = coalesce((
      select max(m.seq) from messages m where m.conversation_id = conversations.id and m.content <> ''
      and m.role <> 'system' and m.status in ('completed', 'incomplete') and m.deleted_at is null and m.superseded_at is null), 0)`,
  ],
};

/**
 * Applies what is pending, all or nothing, and gives the tags of it. Throws, and changes nothing, on a database that is
 * newer than this code.
 */
export function migrateSqlite(client: Database.Database, list: readonly Migration[] = migrations.sqlite): string[] {
  // A table rebuild drops the old table, and its children with it, unless foreign keys are off before the BEGIN.
  client.pragma("foreign_keys = OFF");
  try {
    client.exec("begin immediate");
    client.exec(
      "create table if not exists __drizzle_migrations (id integer primary key, hash text not null, created_at numeric)",
    );
    const applied = appliedOn(client);
    const record = client.prepare("insert into __drizzle_migrations (hash, created_at) values (?, ?)");
    const due = pending(list, applied);
    for (const migration of due) {
      for (const text of migration.sql) client.exec(text);
      record.run(migration.sha256, migration.when);
    }
    const broken = client.pragma("foreign_key_check") as unknown[];
    if (broken.length > 0) throw new Error(`migration left ${broken.length} rows without their parent`);
    client.exec("commit");
    return due.map(({ tag }) => tag);
  } finally {
    if (client.inTransaction) client.exec("rollback");
    client.pragma("foreign_keys = ON");
  }
}

/** Whether migrations are pending. Throws as `pending` does. */
export const isBehind = (client: Database.Database): boolean =>
  pending(migrations.sqlite, appliedOn(client)).length > 0;

/** The hashes of what was applied to a database, which is not changed. */
export function appliedOn(client: Database.Database): string[] {
  const isThere = client.prepare("select 1 from sqlite_schema where name = '__drizzle_migrations'").get();
  return isThere ? (client.prepare("select hash from __drizzle_migrations").pluck().all() as string[]) : [];
}

/**
 * The same on Postgres. One transaction holds the lock, so that of several starters one migrates and the others wait; a
 * database that has everything is only read. A migration has all the time that it needs.
 */
export async function migratePostgres(
  client: postgres.Sql,
  list: readonly Migration[] = migrations.postgres,
): Promise<string[]> {
  const known = hashesOf(list);
  const before = await readJournal(client, known);
  if (!before.isShared && before.applied.length > 0 && pending(list, before.applied).length === 0) return [];
  const done = client.begin(async (tx) => {
    await tx.unsafe("set local statement_timeout = 0; set local idle_in_transaction_session_timeout = 0");
    await tx`select pg_advisory_xact_lock(${LOCK})`;
    const journal = await readJournal(tx, known);
    const due = pending(list, journal.applied);
    await refuseForeignPostgres(tx, list, journal.applied);
    await openJournal(tx, journal);
    for (const migration of due) {
      for (const text of migration.sql) await tx.unsafe(inItsSchema(text));
      await record(tx, migration.sha256, migration.when);
    }
    return due.map(({ tag }) => tag);
  });
  return done.catch(sayWhoMay);
}

function sayWhoMay(error: unknown): never {
  if (codeOf(error) !== NO_PRIVILEGE) throw error;
  throw new Error(
    "migrations are pending, and this role may not create tables: grant it CREATE on its schema, or run `parley migrate` as a role that may",
    { cause: error },
  );
}

/** Generated foreign keys name the schema public, wherever the tables are. */
const inItsSchema = (text: string): string => text.replaceAll('"public".', "");

/** The hashes that are ours. */
export const hashesOf = (list: readonly Migration[]): ReadonlySet<string> =>
  new Set([...list.map((migration) => migration.sha256), ...FIRST.hashes]);

/** Those of `list` that are not applied yet. Throws on one that is applied and not in the list, and where all are of others. */
export function pending(list: readonly Migration[], applied: readonly string[]): readonly Migration[] {
  const known = hashesOf(list);
  refuseForeignJournal(known, applied);
  const unknown = applied.filter((hash) => !known.has(hash)).length;
  if (unknown > 0) {
    throw new Error(`the database is newer than this Parley: ${unknown} of its migrations are unknown here`);
  }
  const isFirst = applied.some((hash) => FIRST.hashes.includes(hash));
  return list
    .filter((migration) => !applied.includes(migration.sha256))
    .map((migration) => (isFirst && migration.tag === FIRST.tag ? { ...migration, sql: FIRST.lacks } : migration));
}
