import { randomUUID } from "node:crypto";
import { describe, expect, inject, it } from "vitest";
import { migrations } from "../../drizzle/migrations.ts";
import { migratePostgres } from "../../src/db/migrate.ts";
import { freshPostgres, open } from "../support/databases.ts";
import { closing } from "../support/db-handles.ts";
import { nextId } from "../support/db-ids.ts";
import { marksOf } from "../support/db-marks.ts";
import { blocked, connectPostgres } from "../support/db-postgres.ts";

const hashes = migrations.postgres.map(({ sha256 }) => sha256);

/** The address of a database that does not exist. */
const missing = (name = `t_${randomUUID().replaceAll("-", "")}`) => `${inject("postgresUrl")}${name}`;

describe("starting on Postgres", () => {
  it.each([
    { on: "a new database", address: freshPostgres },
    { on: "a database that does not exist yet", address: async () => missing() },
    { on: "one whose name needs quotes", address: async () => missing(`T-${randomUUID()}`) },
  ])("comes up for several starters at once on $on", async ({ address }) => {
    const url = await address();
    const starters = (await Promise.all(Array.from({ length: 4 }, () => open(url)))).map(closing);
    const { put, read } = marksOf();
    await Promise.all(starters.map((db) => db.batch([put(nextId())])));
    for (const db of starters) expect(await read(db)).toHaveLength(4);
    const rows = await connectPostgres(url)`select hash from parley_migrations`;
    expect(rows.map(({ hash }) => hash)).toEqual(hashes);
  });

  it("waits where another starter is in the middle of a migration, then finds its work done", async () => {
    const url = await freshPostgres();
    const [outside, first, second] = [connectPostgres(url), connectPostgres(url), connectPostgres(url)];
    await outside`create table gate (id integer)`;
    const through = { tag: "through", when: 1, sha256: "through", sql: ["insert into gate values (1)"] };
    const { both } = await outside.begin(async (tx) => {
      await tx`lock table gate`;
      const both = Promise.all([first, second].map((client) => migratePostgres(client, [through])));
      await blocked(outside, 2);
      return { both };
    });
    await both;
    expect(await outside`select id from gate`).toHaveLength(1);
  });

  it("makes JSON of JSON that an earlier version stored as a string of it", async () => {
    const url = await freshPostgres();
    const client = connectPostgres(url);
    await migratePostgres(
      client,
      migrations.postgres.filter(({ tag }) => tag < "0006"),
    );
    const usage = { input_tokens: 7, output_tokens: 5, estimated: false };
    for (const value of [JSON.stringify(usage), JSON.stringify(JSON.stringify(usage)), null]) {
      await client.unsafe(
        `insert into turns (id, conversation_id, user_id, user_message_id, message_id, status, model, usage, created_at)
         values ($1, $1, 'ann', $1, $1, 'completed', 'fast', $2::text::json, 1)`,
        [nextId(), value],
      );
    }
    await migratePostgres(client);
    const rows = await client`select usage, usage ->> 'input_tokens' as tokens from turns order by id`;
    expect(rows.map(({ usage, tokens }) => [usage, tokens])).toEqual([
      [usage, "7"],
      [usage, "7"],
      [null, null],
    ]);
  });
});
