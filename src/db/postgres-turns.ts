import { Conflict } from "./db.ts";
import { type Born, bornFor } from "./outbox-tables.ts";
import { codeOf, UNIQUE_VIOLATION } from "./postgres-errors.ts";
import { type BeginTurn, begun, type FinishTurn, type TurnWrites } from "./turn-writes.ts";

// One statement a write: a round trip instead of three, and the conversation's row is locked for as long as it runs.
// Whatever must be read fresh stands on that row: the rest of a statement sees the snapshot it began with.

// The id of the request follows all other parameters.
const pair = (requestId: string) => `
  pair as (
    insert into messages (id, conversation_id, turn_id, seq, rev, role, sender_id, content, status, created_at)
    select $2::uuid, taken.id, $4::uuid, taken.rev - 1, taken.rev - 1, 'user', $5, $6, 'completed', $9::bigint from taken
    union all
    select $3::uuid, taken.id, $4::uuid, taken.rev, taken.rev, 'assistant', null, '', 'in_progress', $9::bigint from taken
  ),
  turn as (
    insert into turns (id, conversation_id, user_id, user_message_id, message_id, status, model, options, lease_until, created_at,
      request_id)
    select $4::uuid, taken.id, taken.user_id, $2::uuid, $3::uuid,
      case when taken.open_turns > 1 then 'queued' else 'in_progress' end,
      $10, $12::json, (extract(epoch from clock_timestamp()) * 1000)::bigint + $11::bigint, $9::bigint,
      ${requestId}
    from taken
  )
  select rev, open_turns as "openTurns", system_prompt as "systemPrompt" from taken`;

// The owner may take more; its parameters follow the others'.
const allowed = (owner: string, [mostTurns, mostTokens, since]: readonly string[]) => `
  (${mostTurns}::int is null or ${mostTurns}::int > (
    select count(*) from turns o
    where o.user_id = ${owner} and o.status in ('queued', 'in_progress') and o.cancel_requested_at is null))
  and (${mostTokens}::bigint is null or ${mostTokens}::bigint > (
    select coalesce(sum((u.usage ->> 'input_tokens')::float8 + (u.usage ->> 'output_tokens')::float8), 0) from turns u
    where u.user_id = ${owner} and u.created_at >= ${since}::bigint))`;

const beginExisting = `
  with taken as (
    update conversations set
      rev = rev + 2, open_turns = open_turns + 1, message_count = message_count + 1,
      title = coalesce(title, $7), last_message = $8, last_seq = rev + 1, updated_at = greatest(updated_at, $9::bigint)
    where id = $1::uuid
      and (user_id = $13 or $14 = 'all' or ($14 = 'live' and is_live)) and ($15::text is null or user_id = $15)
      and status <> 'ended' and control = 'assistant' and open_turns <= $16::int
      and ${allowed("conversations.user_id", ["$17", "$18", "$19"])}
    returning id, user_id, rev, open_turns, system_prompt
  ), ${pair("$20")}`;

const beginNew = ({ told, mirrored }: Born) => `
  with taken as (
    insert into conversations
      (id, user_id, title, last_message, last_seq, rev, open_turns, message_count, created_at, updated_at, told, mirrored)
    select $1::uuid, $13, $7, $8, 1, 2, 1, 1, $9::bigint, $9::bigint, ${told}, ${mirrored}
    where ${allowed("$13", ["$14", "$15", "$16"])}
    returning id, user_id, rev, open_turns, system_prompt
  ), ${pair("$17")}`;

const finishTurn = `
  with closed as (
    update conversations c set
      rev = rev + 1, open_turns = open_turns - 1, message_count = message_count + $4::int,
      last_message = case when $4::int = 1 and $5::int > last_seq then $6 else last_message end,
      last_seq = case when $4::int = 1 then greatest(last_seq, $5::int) else last_seq end,
      updated_at = case when $4::int = 1 then greatest(updated_at, $7::bigint) else updated_at end
    where id = $1::uuid
    returning id, rev, open_turns
  ),
  turn as (
    update turns set
      status = $8, target = $9, finish_reason = $10, usage = $11::json, attempts = $12::json, error = $13::json,
      context = $14::json, cost = $16::float8, restarts = $17::int, lease_until = null, completed_at = $7::bigint
    from closed where turns.id = $2::uuid and turns.status = 'in_progress'
    returning turns.id
  ),
  answer as (
    update messages set content = $15, status = $8, model = $9, rev = closed.rev
    from closed, turn where messages.id = $3::uuid
  )
  select rev, open_turns as "openTurns", 1 / (select count(*) from turn)::int as mine from closed`;

// No turn to close makes the last line divide by zero, which undoes the statement.
const NOT_MINE = "22012";

type Run = (text: string, values: readonly (string | number | null)[]) => Promise<readonly object[]>;

/** The two writes as one statement each, with the same promises as the batched form. */
export function postgresTurnWrites(run: Run, batched: TurnWrites, born: Born = bornFor({})): TurnWrites {
  const beginFirst = beginNew(born);

  return {
    async begin(input, create) {
      const more = input.extensions.length + input.also.length;
      const isNamed = create && input.clientId !== null;
      const isPlain = !input.key && !input.interrupt && !input.metadata && !isNamed && more === 0;
      if (!isPlain) return batched.begin(input, create); // rare, so it has no spelling of its own
      const scope = create ? [input.userId] : [input.self, input.sees, input.owner, input.room];
      const values = [...beginValues(input), ...scope, input.mostTurns, input.mostTokens, input.since, input.requestId];
      const [row] = await run(create ? beginFirst : beginExisting, values).catch(conflictOn(UNIQUE_VIOLATION));
      if (!row) throw Conflict();
      return begun({ ...(row as unknown as Parameters<typeof begun>[0]), stopped: [] });
    },
    beginAgain: batched.beginAgain,
    async finish(input) {
      if (input.alternatives.length > 0 || input.again) return batched.finish(input);
      const [row] = await run(finishTurn, finishValues(input)).catch(conflictOn(NOT_MINE));
      if (!row) throw Conflict();
      const { rev, openTurns } = row as unknown as { rev: number; openTurns: number };
      return { rev, openTurns };
    },
  };
}

const conflictOn = (code: string) => (error: unknown) => {
  throw codeOf(error) === code ? Conflict() : error;
};

const beginValues = (input: BeginTurn) => [
  input.conversationId,
  input.questionId,
  input.answerId,
  input.turnId,
  input.senderId,
  input.content,
  input.title,
  input.preview,
  input.now,
  input.model,
  input.leaseMs,
  json(input.options),
];

const finishValues = (input: FinishTurn) => [
  input.conversationId,
  input.turnId,
  input.answerId,
  input.content === "" ? 0 : 1,
  input.seq,
  input.preview,
  input.now,
  input.status,
  input.target,
  input.finishReason,
  json(input.usage),
  json(input.attempts),
  json(input.error),
  json(input.context),
  input.content,
  input.cost,
  input.restarts,
];

const json = (value: unknown) => (value === null ? null : JSON.stringify(value));
