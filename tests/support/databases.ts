import { randomUUID } from "node:crypto";
import { join } from "node:path";
import postgres from "postgres";
import { inject } from "vitest";
import type { Db } from "../../src/db/db.ts";
import { openDatabase, parseDatabaseUrl } from "../../src/db/index.ts";

/** Both databases, for `describe.each`. `fresh` gives the DATABASE_URL of an empty one. */
export const databases = [
  { database: "SQLite", fresh: async () => `sqlite:///${join(inject("folder"), `${randomUUID()}.db`)}` },
  { database: "Postgres", fresh: freshPostgres },
] as const;

/** An empty Postgres database of its own: generated foreign keys name the schema, so a schema would not do. */
export async function freshPostgres(): Promise<string> {
  const name = `t_${randomUUID().replaceAll("-", "")}`;
  const admin = postgres(`${inject("postgresUrl")}postgres`, { max: 1, onnotice: () => {} });
  await admin.unsafe(`create database ${name}`);
  await admin.end();
  return inject("postgresUrl") + name;
}

/** Opened and migrated as the service does it. */
export const open = (url: string): Promise<Db> => openDatabase(parseDatabaseUrl(url), { synchronous: "normal" });
