import { and, eq, sql } from "drizzle-orm";
import { type Step, statement, step } from "./db.ts";

/** The statements that blank a message for good, behind one that knows it in its conversation. */

const blankMessageRow = statement(["conversationId", "id", "now"], (db, $) => {
  const m = db.tables.messages;
  return db
    .update(m)
    .set({ content: "", metadata: null, erasedAt: $.now })
    .where(and(eq(m.id, $.id), eq(m.conversationId, $.conversationId)));
});

export const deleteExtensionsOf = statement(["id"], (db, $) => {
  const e = db.tables.messageExtensions;
  return db.delete(e).where(eq(e.messageId, $.id));
});

/** What the turn of a question was asked for beside it. */
export const blankOptionsOf = statement(["id"], (db, $) => {
  const { turns: t, messages: m } = db.tables;
  return db
    .update(t)
    .set({ options: null })
    .where(sql`${t.id} = (select ${m.turnId} from ${m} where ${m.id} = ${$.id})`);
});

type Erased = { conversationId: string; id: string; now: number };

/** Blanks a message that is deleted in the same batch, with all that hangs on it. */
export const eraseSteps = (erased: Erased): readonly Step<unknown>[] => [
  step(blankOptionsOf, erased),
  step(deleteExtensionsOf, erased),
  step(blankMessageRow, erased),
];
