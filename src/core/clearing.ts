import { and, eq, lt, sql } from "drizzle-orm";
import { type Db, type Source, type Step, statement, step } from "../db/db.ts";
import { NOBODY } from "../db/scope.ts";

/**
 * The messages of a deleted conversation go in parts, so that a long one holds up nobody. Nobody finds it any more, so no
 * caller stands behind these statements.
 */

/** One part: so many messages, and so much text in them, in bytes. */
const MOST_MESSAGES = 200;
const MOST_BYTES = 1_048_576;

/** The ids of the first messages that there still are. */
const partOf = ({ tables: { messages: m } }: Source, id: unknown) =>
  sql`(select part.id from (
    select first.id, sum(first.size) over (order by first.seq) - first.size as before
    from (select ${m.id}, ${m.seq}, ${m.size} from ${m} where ${m.conversationId} = ${id} order by ${m.seq} limit ${sql.raw(String(MOST_MESSAGES))}) first
  ) part where part.before < ${sql.raw(String(MOST_BYTES))})`;

const blankTurns = statement(["id"], (db, $) => {
  const { turns: t, messages: m } = db.tables;
  return db
    .update(t)
    .set({ options: null })
    .where(
      sql`${t.id} in (select ${m.turnId} from ${m} where ${m.id} in ${partOf(db, $.id)}) and ${t.options} is not null`,
    );
});

const deletePart = statement(["id"], (db, $) => {
  const m = db.tables.messages;
  return db
    .delete(m)
    .where(sql`${m.id} in ${partOf(db, $.id)}`)
    .returning({ id: m.id });
});

const deleteEmpty = statement(["id"], (db, $) => {
  const { conversations: c, messages: m } = db.tables;
  return db
    .delete(c)
    .where(and(eq(c.id, $.id), sql`not exists (select 1 from ${m} where ${m.conversationId} = ${$.id})`))
    .returning({ id: c.id });
});

type Part = readonly [Step<unknown>, Step<{ id: string }>, Step<{ id: string }>];

/** Deletes a part of the messages, and the conversation where none is left. The ids of both are the rows of the last two. */
export const clearSteps = (id: string): Part => [
  step(blankTurns, { id }),
  step(deletePart, { id }),
  step(deleteEmpty, { id }),
];

/** Clears a deleted conversation away, part by part. Gives the number of messages that there were. */
export async function clearAway(db: Db, id: string): Promise<number> {
  for (let messages = 0; ; ) {
    const [, part, conversation] = await db.batch(clearSteps(id));
    messages += part.length;
    if (part.length === 0 || conversation.length > 0) return messages;
  }
}

const selectLeft = statement(["before"], (db, $) => {
  const c = db.tables.conversations;
  return db
    .select({ id: c.id })
    .from(c)
    .where(and(eq(c.userId, NOBODY), lt(c.updatedAt, $.before)))
    .limit(100);
});

/** Clears away what a process has left of conversations that were deleted before a moment, in milliseconds. */
export async function clearLeft(db: Db, before: number): Promise<void> {
  for (const { id } of await db.all(selectLeft, { before })) await clearAway(db, id);
}
