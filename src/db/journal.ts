import type postgres from "postgres";

/** Which migrations a Postgres database has: a table of our own beside the others, wherever `search_path` puts them. */

type Client = postgres.Sql | postgres.TransactionSql;

export type Journal = {
  /** The hashes of what was applied. */
  readonly applied: string[];
  /** Whether it is still in the table that earlier versions shared with every other application on Drizzle. */
  readonly isShared: boolean;
};

/** Reads the journal, and changes nothing. Of a shared one only what is `known` is ours. */
export async function readJournal(client: Client, known: ReadonlySet<string>): Promise<Journal> {
  // From the catalogue: to_regclass remembers on its connection what was not there a moment ago.
  const [found] = await client`
    select
      exists (select from pg_class where relname = 'parley_migrations' and pg_table_is_visible(oid)) as own,
      exists (select from pg_tables where schemaname = 'drizzle' and tablename = '__drizzle_migrations') as shared,
      exists (select from pg_tables where schemaname = current_schema() and tablename = 'conversations') as used`;
  if (found?.["own"]) return { applied: hashesOf(await client`select hash from parley_migrations`), isShared: false };
  if (!found?.["shared"] || !found["used"]) return { applied: [], isShared: false };
  const hashes = hashesOf(await client`select hash from drizzle.__drizzle_migrations`);
  const applied = hashes.filter((hash) => known.has(hash));
  return { applied, isShared: applied.length > 0 };
}

const hashesOf = (rows: Iterable<postgres.Row>): string[] => [...rows].map((row) => String(row["hash"]));

/** Makes the journal where there is none, and moves ours out of the shared one, which other applications may go on with. */
export async function openJournal(tx: postgres.TransactionSql, { applied, isShared }: Journal): Promise<void> {
  await tx.unsafe(
    `create table if not exists parley_migrations
      (id integer generated always as identity primary key, hash text not null unique, created_at bigint not null)`,
  );
  if (!isShared) return;
  await tx`
    insert into parley_migrations (hash, created_at)
    select hash, coalesce(min(created_at), 0) from drizzle.__drizzle_migrations where hash in ${tx(applied)} group by hash order by min(id)`;
  await tx`delete from drizzle.__drizzle_migrations where hash in ${tx(applied)}`;
  await tx.unsafe(DROP_IF_EMPTY);
}

/** What is left of the shared one is dropped where it is empty and ours to drop. */
const DROP_IF_EMPTY = `
  do $$ begin
    if not exists (select 1 from drizzle.__drizzle_migrations) then
      drop table drizzle.__drizzle_migrations;
      drop schema drizzle;
    end if;
  exception when dependent_objects_still_exist or insufficient_privilege then null;
  end $$`;

export async function record(tx: postgres.TransactionSql, hash: string, when: number): Promise<void> {
  await tx`insert into parley_migrations (hash, created_at) values (${hash}, ${when})`;
}
