import { describe, expect, inject, it } from "vitest";
import { migrations } from "../../drizzle/migrations.ts";
import { openDatabase, parseDatabaseUrl } from "../../src/db/index.ts";
import { inspectDatabase } from "../../src/db/inspect.ts";
import { reasonOf } from "../../src/secrets.ts";
import { freshPostgres, open } from "../support/databases.ts";
import { closing, refusal } from "../support/db-handles.ts";
import { nextId } from "../support/db-ids.ts";
import { marksOf } from "../support/db-marks.ts";
import { connectPostgres } from "../support/db-postgres.ts";

const hashes = migrations.postgres.map(({ sha256 }) => sha256);
const SHARED = `
  create schema drizzle;
  create table drizzle.__drizzle_migrations (id serial primary key, hash text not null, created_at bigint);`;

/** A database as earlier versions left it: with its journal in the table that all applications on Drizzle share. */
async function ofEarlierVersion(also: string[] = []): Promise<string> {
  const url = await freshPostgres();
  await (await open(url)).close();
  const client = connectPostgres(url);
  await client.unsafe(`${SHARED}
    insert into drizzle.__drizzle_migrations (hash, created_at) select hash, created_at from parley_migrations order by id;
    drop table parley_migrations`);
  for (const hash of also)
    await client`insert into drizzle.__drizzle_migrations (hash, created_at) values (${hash}, 4102444800000)`;
  return url;
}

const ours = async (url: string) =>
  (await connectPostgres(url)`select hash from parley_migrations order by id`).map(({ hash }) => hash);

describe("the journal of migrations on Postgres", () => {
  it("stands beside another application's, which is left as it is", async () => {
    const url = await freshPostgres();
    const client = connectPostgres(url);
    await client.unsafe(
      `${SHARED} insert into drizzle.__drizzle_migrations (hash, created_at) values ('of theirs', 1)`,
    );
    expect(await inspectDatabase(parseDatabaseUrl(url))).toEqual({
      ...{ exists: true, applied: 0, pending: hashes.length, isServed: false },
    });
    for (let start = 0; start < 2; start++) await (await open(url)).close();
    expect(await ours(url)).toEqual(hashes);
    expect([...(await client`select hash, created_at::int from drizzle.__drizzle_migrations`)]).toEqual([
      { hash: "of theirs", created_at: 1 },
    ]);
  });

  it("is taken along from the table that earlier versions shared, and that is dropped where nothing is left in it", async () => {
    const url = await ofEarlierVersion();
    expect(await inspectDatabase(parseDatabaseUrl(url))).toEqual({
      ...{ exists: true, applied: hashes.length, pending: 0, isServed: false },
    });
    closing(await open(url));
    expect(await ours(url)).toEqual(hashes);
    expect(await connectPostgres(url)`select from pg_namespace where nspname = 'drizzle'`).toHaveLength(0);
  });

  it("leaves in that table what is another application's", async () => {
    const url = await ofEarlierVersion(["of theirs"]);
    closing(await open(url));
    expect(await ours(url)).toEqual(hashes);
    const left = await connectPostgres(url)`select hash from drizzle.__drizzle_migrations`;
    expect(left.map(({ hash }) => hash)).toEqual(["of theirs"]);
  });

  it("still tells that a database is newer", async () => {
    const url = await freshPostgres();
    await (await open(url)).close();
    await connectPostgres(url)`insert into parley_migrations (hash, created_at) values ('of tomorrow', 1)`;
    expect(reasonOf(await refusal(open(url)))).toMatch(/^the database is newer than this Parley/);
  });

  it("and all tables are made where search_path says, and two services share one database so", async () => {
    const url = await freshPostgres();
    const client = connectPostgres(url);
    await client.unsafe("create schema app; create schema other");
    const at = (schema: string) => open(`${url}?search_path=${schema}`).then(closing);
    const [app, other] = [await at("app"), await at("other")];
    const { put, read } = marksOf();
    await app.batch([put(nextId())]);
    expect([await read(app), await read(other)]).toEqual([[expect.anything()], []]);
    const schemas = await client`
      select distinct schemaname as name from pg_tables where schemaname not in ('pg_catalog', 'information_schema') order by 1`;
    expect(schemas.map(({ name }) => name)).toEqual(["app", "other"]);
    expect(
      await client`
      select from pg_constraint where contype = 'f' and connamespace <> (select relnamespace from pg_class where oid = confrelid)`,
    ).toHaveLength(0);
  });
});

describe("a Postgres role that may not create", () => {
  async function roleWithout(url: string, grants: string): Promise<string> {
    const name = `meek_${nextId().replaceAll("-", "")}`;
    const database = new URL(url).pathname.slice(1);
    await connectPostgres(`${inject("postgresUrl")}postgres`).unsafe(
      `create role ${name} login password 'meek'; revoke create on database ${database} from ${name}`,
    );
    await connectPostgres(url).unsafe(grants.replaceAll("ROLE", name));
    return Object.assign(new URL(url), { username: name, password: "meek" }).href;
  }

  it("in the database migrates within its schema", async () => {
    const url = await roleWithout(await freshPostgres(), "grant create, usage on schema public to ROLE");
    closing(await open(url));
    expect(await ours(url)).toEqual(hashes);
  });

  it("anything starts on a database that has all migrations", async () => {
    const url = await freshPostgres();
    await (await open(url)).close();
    const meek = await roleWithout(url, "grant select, insert, update, delete on all tables in schema public to ROLE");
    const db = closing(await openDatabase(parseDatabaseUrl(meek)));
    const { put, read } = marksOf();
    await db.batch([put(nextId()), put(nextId())]);
    expect(await read(db)).toHaveLength(2);
  });

  it("is told what to do where migrations are pending", async () => {
    const meek = await roleWithout(await freshPostgres(), "grant usage on schema public to ROLE");
    expect(reasonOf(await refusal(open(meek)))).toMatch(/role may not create tables: .*parley migrate/);
  });
});
