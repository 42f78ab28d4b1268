import { parseDatabaseUrl } from "../../src/db/index.ts";
import { type Migration, migratePostgres, migrateSqlite } from "../../src/db/migrate.ts";
import { databases, freshPostgres } from "./databases.ts";
import { connectPostgres } from "./db-postgres.ts";
import { connect } from "./db-sqlite.ts";

/** What a database holds, as far as migrations are concerned: its tables, and which of them were recorded. */
export type Holding = { tables: string[]; applied: { hash: string; created_at: number }[] };

export type Migrator = {
  migrate(list: readonly Migration[]): Promise<string[]>;
  look(): Promise<Holding>;
};

/** Both databases with their runner in the open, for `describe.each`. */
export const migrating = [
  { database: "SQLite", dialect: "sqlite", fresh: databases[0].fresh, connect: sqliteMigrator },
  { database: "Postgres", dialect: "postgres", fresh: freshPostgres, connect: postgresMigrator },
] as const;

const OURS = "__drizzle_migrations";

function sqliteMigrator(url: string): Migrator {
  const address = parseDatabaseUrl(url);
  if (address.dialect !== "sqlite") throw new Error("that is no SQLite");
  const client = connect(address.path);
  const names = client.prepare("select name from sqlite_schema where type = 'table' order by name").pluck();
  return {
    migrate: async (list) => migrateSqlite(client, list),
    async look() {
      const tables = names.all() as string[];
      const applied = tables.includes(OURS)
        ? client.prepare(`select hash, created_at from ${OURS} order by id`).all()
        : [];
      return { tables: tables.filter((name) => name !== OURS), applied: applied as Holding["applied"] };
    },
  };
}

function postgresMigrator(url: string): Migrator {
  const client = connectPostgres(url);
  return {
    migrate: (list) => migratePostgres(client, list),
    async look() {
      const found = await client<{ name: string; schema: string }[]>`
        select table_name as name, table_schema as schema from information_schema.tables
        where table_schema not in ('pg_catalog', 'information_schema') order by table_name`;
      const applied = found.some(({ name }) => name === "parley_migrations")
        ? await client<Holding["applied"]>`select hash, created_at::float8 from parley_migrations order by id`
        : [];
      return {
        tables: found.flatMap(({ name, schema }) =>
          schema === "public" && name !== "parley_migrations" ? [name] : [],
        ),
        applied: [...applied],
      };
    },
  };
}
