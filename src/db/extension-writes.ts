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
