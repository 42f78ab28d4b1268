import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type Database from "better-sqlite3";
import postgres from "postgres";
import { migrations } from "../../drizzle/migrations.ts";
import { parseDatabaseUrl } from "../../src/db/index.ts";
import { migratePostgres, migrateSqlite } from "../../src/db/migrate.ts";
import { openClient } from "../../src/db/sqlite.ts";

const text = (name: string) => readFileSync(join(import.meta.dirname, "first-schema", name), "utf8");
const tables = ["conversations", "messages", "message_extensions", "turns", "idempotency_keys", "tombstones"];

/** Whether as the very first commit had it, or as 0000_init stands since. */
export const schemas = ["of the first commit", "of 0000_init"] as const;

/** Leaves a database behind as an early version may have, with rows in every table. */
export function fill(url: string, schema: (typeof schemas)[number]): Promise<void> {
  const isFirst = schema === "of the first commit";
  const rows = text("rows.sql");
  const seqs = "update conversations set last_seq = case rev when 10 then 9 else rev end";
  const data = isFirst ? rows : `${rows}; ${seqs}`;
  return over(url, {
    async sqlite(client) {
      migrateSqlite(client, isFirst ? [first("sqlite")] : migrations.sqlite.slice(0, 1));
      client.exec(data);
    },
    async postgres(client) {
      await migratePostgres(client, isFirst ? [first("postgres")] : migrations.postgres.slice(0, 1));
      await client.unsafe(data);
    },
  });
}

/** How many rows each table of that time has. */
export async function counts(url: string): Promise<Record<string, number>> {
  const all = tables.map((table) => `select '${table}' as name, count(*) as rows from ${table}`).join(" union all ");
  const rows = (await select(url, all)) as { name: string; rows: number | string }[];
  return Object.fromEntries(rows.map(({ name, rows }) => [name, Number(rows)]));
}

/** Rows that name a parent that is not there. */
export const orphans = (url: string): Promise<unknown[]> =>
  select(
    url,
    `select id from messages where conversation_id not in (select id from conversations)
     union all select id from message_extensions where message_id not in (select id from messages)`,
  );

/** Reads with the same words from both databases. */
export const select = (url: string, sql: string): Promise<unknown[]> =>
  over(url, {
    sqlite: async (client) => client.prepare(sql).all(),
    postgres: async (client) => [...(await client.unsafe(sql))],
  });

function first(dialect: "sqlite" | "postgres") {
  const written = text(`${dialect}.sql`);
  const sha256 = createHash("sha256").update(written).digest("hex");
  return { tag: "0000_init", when: 1795183629071, sha256, sql: written.split("--> statement-breakpoint") };
}

type Work<R> = { sqlite(client: Database.Database): Promise<R>; postgres(client: postgres.Sql): Promise<R> };

/** Another program's connection, closed at the end. */
async function over<R>(url: string, work: Work<R>): Promise<R> {
  const address = parseDatabaseUrl(url);
  if (address.dialect === "sqlite") {
    const client = openClient(address.path, "normal");
    return work.sqlite(client).finally(() => client.close());
  }
  const client = postgres(url, { max: 1, onnotice: () => {} });
  return work.postgres(client).finally(() => client.end());
}
