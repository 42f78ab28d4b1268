import { and, eq, sql } from "drizzle-orm";
import { type Db, guard, isConflict, type Step, statement, step } from "../db/db.ts";
import { NOBODY_TO_TELL } from "../db/outbox-tables.ts";
import { inScope, NOBODY, scopeSlots } from "../db/scope.ts";
import type { TurnError } from "../db/tables.ts";
import { clearAway, clearSteps } from "./clearing.ts";
import { notFound } from "./errors.ts";
import type { Actor } from "./identity.ts";

const lockRow = statement([...scopeSlots, "conversationId"], (db, $) => {
  const t = db.tables.conversations;
  return db
    .update(t)
    .set({ rev: sql`${t.rev} + 1` })
    .where(and(eq(t.id, $.conversationId), inScope(db, $)))
    .returning({ id: t.id });
});

const insertTombstone = statement(["id", "now"], (db, $) => {
  const t = db.tables.conversations;
  const of = sql`from ${t} where ${t.id} = ${$.id}`;
  return db.insert(db.tables.tombstones).values({
    id: $.id,
    userId: sql`(select case when ${t.rev} > ${t.told} then ${t.userId} else '' end ${of})`, // for the webhook alone
    rev: sql`(select ${t.rev} ${of})`,
    told: sql`(select ${t.told} ${of})`,
    mirrored: sql`(select ${t.mirrored} ${of})`,
    deletedAt: $.now,
  });
});

const cancelTurns = statement(["id", "error", "now"], (db, $) => {
  const t = db.tables.turns;
  return db
    .update(t)
    .set({ status: "failed", options: null, error: $.error, leaseUntil: null, completedAt: $.now })
    .where(and(eq(t.conversationId, $.id), sql`${t.status} in ('queued', 'in_progress')`))
    .returning({ id: t.id });
});

// What Stream Chat has told of it and nobody has worked on yet.
const forgetEvents = statement(["id", "now"], (db, $) => {
  const { streamEvents: e, streamChannels: s } = db.tables;
  const channel = sql`coalesce((select ${s.streamId} from ${s} where ${s.id} = ${$.id}), cast(${$.id} as text))`;
  return db
    .update(e)
    .set({ event: null, leaseUntil: null, doneAt: $.now, error: "conversation_deleted" })
    .where(sql`done_at is null and ${db.textIn(e.event, "channel_id")} = ${channel}`);
});

/** From here on nobody finds it, and nobody is told of it but of its tombstone, however long its messages take to go. */
const hideRow = statement(["id", "now"], (db, $) => {
  const t = db.tables.conversations;
  return db
    .update(t)
    .set({
      ...{ userId: NOBODY, agentId: null, clientId: null, title: null, isLive: false, status: "ended" },
      ...{ control: "assistant", systemPrompt: null, metadata: null, messageCount: 0, lastMessage: null, openTurns: 0 },
      ...{ updatedAt: $.now, previousId: null, queuedAt: null, told: NOBODY_TO_TELL, mirrored: NOBODY_TO_TELL },
    })
    .where(eq(t.id, $.id));
});

const DELETED: TurnError = { code: "turn_cancelled", detail: "The conversation was deleted." };

type Deletion = { id: string; now: number };

/** Deletes a conversation behind a guard that has taken its next revision: all of it, or the first part of a long one. */
const deletionSteps = ({ id, now }: Deletion) =>
  [
    step(insertTombstone, { id, now }),
    step(cancelTurns, { id, error: DELETED, now }),
    step(forgetEvents, { id, now }),
    step(hideRow, { id, now }),
    ...clearSteps(id),
  ] as const;

/** The turns that a deletion cancelled, whose providers are still to be stopped, and how many messages there were. */
export type Deleted = { cancelled: string[]; messages: number };

/** Deletes a conversation for which a guard gives a row. Throws `Conflict` where it gives none. */
export async function deleteBehind(db: Db, lock: Step<unknown>, deletion: Deletion): Promise<Deleted> {
  const [, , cancelled, , , , part, conversation] = await db.batch([lock, ...deletionSteps(deletion)]);
  const rest = conversation.length > 0 ? 0 : await clearAway(db, deletion.id);
  return { cancelled: cancelled.map((turn) => turn.id), messages: part.length + rest };
}

/** Deletes a conversation with its messages; turns stay as a ledger without a word of it. Throws 404 as `getConversation` does. */
export async function removeConversation(db: Db, actor: Actor, deletion: Deletion): Promise<Deleted> {
  const lock = guard(lockRow, { ...actor, conversationId: deletion.id });
  return deleteBehind(db, lock, deletion).catch(noRow);
}

/** The same, giving the turns that it cancelled alone. */
export const deleteConversation = async (db: Db, actor: Actor, deletion: Deletion): Promise<string[]> =>
  (await removeConversation(db, actor, deletion)).cancelled;

function noRow(error: unknown): never {
  throw isConflict(error) ? notFound("conversation") : error;
}
