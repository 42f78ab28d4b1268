import postgres from "postgres";
import { migratePostgres } from "../src/db/migrate.ts";
import type { Row, Shown, Store } from "./floor.ts";

const USER = "anonymous";

// The statements of src/db/postgres-turns.ts, without the scopes.

const pair = `
  pair as (
    insert into messages (id, conversation_id, turn_id, seq, rev, role, sender_id, content, status, created_at)
    select $2::uuid, taken.id, $4::uuid, taken.rev - 1, taken.rev - 1, 'user', $5, $6, 'completed', $7::bigint from taken
    union all
    select $3::uuid, taken.id, $4::uuid, taken.rev, taken.rev, 'assistant', null, '', 'in_progress', $7::bigint from taken
  ),
  turn as (
    insert into turns (id, conversation_id, user_id, user_message_id, message_id, status, model, lease_until, created_at)
    select $4::uuid, taken.id, taken.user_id, $2::uuid, $3::uuid,
      case when taken.open_turns > 1 then 'queued' else 'in_progress' end,
      'balanced', (extract(epoch from clock_timestamp()) * 1000)::bigint + 10000, $7::bigint
    from taken
  )
  select rev from taken`;

const beginExisting = `
  with taken as (
    update conversations set
      rev = rev + 2, open_turns = open_turns + 1, message_count = message_count + 1,
      title = coalesce(title, $6), last_message = $6, updated_at = $7::bigint
    where id = $1::uuid and user_id = $5 and status <> 'ended' and control = 'assistant' and open_turns <= 16
    returning id, user_id, rev, open_turns
  ), ${pair}`;

const beginNew = `
  with taken as (
    insert into conversations (id, user_id, title, last_message, rev, open_turns, message_count, created_at, updated_at)
    values ($1::uuid, $5, $6, $6, 2, 1, 1, $7::bigint, $7::bigint)
    returning id, user_id, rev, open_turns
  ), ${pair}`;

const selectShown = `
  select role, content from messages
  where conversation_id = $1 and seq < $2 and status in ('completed', 'incomplete') and content <> ''
    and deleted_at is null and superseded_at is null
  order by seq desc limit 200`;

const finishTurn = `
  with closed as (
    update conversations c set
      rev = rev + 1, open_turns = open_turns - 1, message_count = message_count + 1,
      last_message = case when rev = $4::int or not exists (
        select 1 from messages m where m.conversation_id = c.id and m.seq > $4::int and m.content <> ''
          and m.deleted_at is null and m.superseded_at is null
      ) then $5 else last_message end,
      updated_at = $6::bigint
    where id = $1::uuid
    returning id, rev, open_turns
  ),
  turn as (
    update turns set
      status = 'completed', target = $7, finish_reason = $8, usage = $9::json, attempts = $10::json,
      context = $11::json, lease_until = null, completed_at = $6::bigint
    from closed where turns.id = $2::uuid and turns.status = 'in_progress'
    returning turns.id
  ),
  answer as (
    update messages set content = $5, status = 'completed', model = $7, rev = closed.rev
    from closed, turn where messages.id = $3::uuid
  )
  select rev, 1 / (select count(*) from turn)::int as mine from closed`;

const insertEmpty = `
  insert into conversations (id, user_id, title, created_at, updated_at)
  values ($1::uuid, $2, $3, $4::bigint, $4::bigint) returning id`;

const selectList = `
  select id, user_id, title, created_at, updated_at, message_count from conversations
  where user_id = $1 order by updated_at desc, id desc limit $2`;

const countList = "select count(*)::int as total from conversations where user_id = $1";

const selectLast = `
  select m.id, m.conversation_id as chat_id, m.role, m.content, m.created_at
  from messages m join conversations c on c.id = m.conversation_id
  where m.conversation_id = $1::uuid and c.user_id = $2 and m.role <> 'system'
    and m.status in ('completed', 'incomplete') and m.content <> '' and m.deleted_at is null and m.superseded_at is null
  order by m.seq desc limit $3`;

const selectOne = "select * from conversations where id = $1::uuid and user_id = $2";

/** One prepared statement a write, over as many connections as Parley's pool has. */
export async function postgresStore(url: string): Promise<Store> {
  const client = postgres(url, { max: 10, onnotice: () => {} });
  await migratePostgres(client);
  const run = (text: string, values: (string | number)[]) => client.unsafe(text, values, { prepare: true });
  return {
    async begin({ conversationId, isNew, turnId, questionId, answerId, content, now }) {
      const values = [conversationId, questionId, answerId, turnId, USER, content, now];
      const [row] = await run(isNew ? beginNew : beginExisting, values);
      return row?.["rev"];
    },
    context: async (conversationId, seq) => [...(await run(selectShown, [conversationId, seq]))] as unknown as Shown[],
    async finish({ conversationId, turnId, answerId }, seq, answer) {
      const { content, target, finishReason, now } = answer;
      const json = [answer.usage, answer.attempts, answer.context].map((value) => JSON.stringify(value));
      await run(finishTurn, [conversationId, turnId, answerId, seq, content, now, target, finishReason, ...json]);
    },
    create: ({ id, title, now }) => run(insertEmpty, [id, USER, title, now]),
    async list(user, limit) {
      const [rows, [counted]] = await Promise.all([run(selectList, [user, limit]), run(countList, [user])]);
      return [[...rows] as Row[], counted?.["total"]];
    },
    async last(user, conversationId, limit) {
      const [rows, [one]] = await Promise.all([
        run(selectLast, [conversationId, user, limit]),
        run(selectOne, [conversationId, user]),
      ]);
      if (!one) throw new Error("no such conversation");
      return [...rows] as Row[];
    },
  };
}
