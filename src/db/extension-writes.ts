import { and, eq, sql } from "drizzle-orm";
import { statement } from "./db.ts";

/** The statements with which something is hung on a message, behind one that takes the conversation's next revision. */

/** A guard: stamps a message whose extensions have changed, unless it is deleted. */
export const touchMessageRow = statement(["conversationId", "id"], (db, $) => {
  const { conversations: c, messages: m } = db.tables;
  return db
    .update(m)
    .set({ rev: sql`(select ${c.rev} from ${c} where ${c.id} = ${$.conversationId})` })
    .where(and(eq(m.id, $.id), eq(m.conversationId, $.conversationId), sql`${m.deletedAt} is null`))
    .returning({ id: m.id });
});

export const insertExtension = statement(["id", "messageId", "type", "authorId", "data", "now"], (db, $) =>
  db
    .insert(db.tables.messageExtensions)
    .values({
      id: $.id,
      messageId: $.messageId,
      type: $.type,
      authorId: $.authorId,
      data: $.data,
      createdAt: $.now,
    })
    .returning(),
);

export const deleteExtensionRow = statement(["id", "messageId"], (db, $) => {
  const e = db.tables.messageExtensions;
  return db
    .delete(e)
    .where(and(eq(e.id, $.id), eq(e.messageId, $.messageId)))
    .returning({ id: e.id });
});

/**
 * A guard: the message has room for one more of its author's, and none of the author's is this reaction (null for any other
 * type). Earlier texts and all else have rooms of their own.
 */
export const hasRoom = statement(["messageId", "authorId", "type", "emoji", "mostOwn", "mostOfAll"], (db, $) => {
  const { messages: m, messageExtensions: e } = db.tables;
  const emoji = sql`cast(${$.emoji} as text)`;
  const of = sql`from ${e} where ${e.messageId} = ${$.messageId}`;
  const own = sql`${e.authorId} = ${$.authorId}`;
  const inRoom = sql`${of} and (${e.type} = 'edit_history') = (cast(${$.type} as text) = 'edit_history')`;
  return db
    .select({ id: m.id })
    .from(m)
    .where(
      and(
        eq(m.id, $.messageId),
        sql`(select count(*) ${inRoom} and ${own}) < cast(${$.mostOwn} as integer)`,
        sql`(select count(*) ${inRoom}) < cast(${$.mostOfAll} as integer)`,
        sql`(${emoji} is null or not exists (select 1 ${of} and ${e.type} = 'reaction' and ${own} and ${db.textIn(e.data, "emoji")} = ${emoji}))`,
      ),
    );
});
