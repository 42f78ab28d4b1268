import postgres from "postgres";
import { migratePostgres, migrateSqlite } from "../src/db/migrate.ts";
import { openClient } from "../src/db/sqlite.ts";
import { LISTED } from "./traffic.ts";

// Conversations of many users, whose messages came in turn: those of one are spread over the whole table.

const OWN = 10_000;
const EACH = 10;
const LONG = 10_000;
const TEXT = "What did I tell you about the boat that we rented last summer, and how long was it? ".repeat(2);

/** The SQL of either dialect; `id` makes one of a kind and a number. */
type Words = { id(kind: number, n: string): string; series(name: string, to: number): string };

function statements({ id, series }: Words, others: number): string[] {
  const total = OWN + others;
  const owner = `case when n * ${OWN} / ${total} > (n - 1) * ${OWN} / ${total} then '${LISTED.user}' else 'user-' || n % 1000 end`;
  const role = "case m % 2 when 1 then 'user' else 'assistant' end";
  const messages = "insert into messages (id, conversation_id, seq, rev, role, content, status, created_at)";
  return [
    `insert into conversations (id, user_id, title, rev, message_count, last_message, last_seq, created_at, updated_at)
     select ${id(1, "n")}, ${owner}, 'A boat', ${EACH}, ${EACH}, 'It leaked.', ${EACH}, n, n from ${series("n", total)}`,
    `insert into conversations (id, user_id, title, rev, message_count, last_message, last_seq, created_at, updated_at)
     values ('${LISTED.long}', '${LISTED.user}', 'A long one', ${LONG}, ${LONG}, 'It leaked.', ${LONG}, 1, 1)`,
    `${messages} select ${id(3, `(m * ${total} + n)`)}, ${id(1, "n")}, m, m, ${role}, '${TEXT}', 'completed', m
     from ${series("m", EACH)} cross join ${series("n", total)}`,
    `${messages} select ${id(4, "m")}, '${LISTED.long}', m, m, ${role}, '#' || m || ' ${TEXT}', 'completed', m
     from ${series("m", LONG)}`,
  ];
}

export async function fillSqlite(url: string, others: number): Promise<void> {
  const client = openClient(url.slice("sqlite:///".length), "normal");
  migrateSqlite(client);
  const words: Words = {
    id: (kind, n) => `printf('%08x-0000-7000-8000-%012x', ${kind}, ${n})`,
    series: (name, to) =>
      `(with recursive s(${name}) as (select 1 union all select ${name} + 1 from s where ${name} < ${to}) select ${name} from s) as ${name}s`,
  };
  for (const text of statements(words, others)) client.exec(text);
  client.pragma("wal_checkpoint(TRUNCATE)");
  client.close();
}

export async function fillPostgres(url: string, others: number): Promise<void> {
  const client = postgres(url, { max: 1, onnotice: () => {} });
  await migratePostgres(client);
  const hex = (n: string | number, digits: number) => `lpad(to_hex(${n}), ${digits}, '0')`;
  const words: Words = {
    id: (kind, n) => `(${hex(kind, 8)} || '-0000-7000-8000-' || ${hex(n, 12)})::uuid`,
    series: (name, to) => `generate_series(1, ${to}) as ${name}s(${name})`,
  };
  for (const text of statements(words, others))
    await client.unsafe(text.replaceAll(`'${LISTED.long}'`, `'${LISTED.long}'::uuid`));
  await client.unsafe("vacuum analyze"); // as its own daemon does, sooner or later
  await client.unsafe("checkpoint");
  await client.end();
}
