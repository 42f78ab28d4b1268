import { and, asc, eq, gt, ne, sql } from "drizzle-orm";
import { type Db, guard, isConflict, type Step, statement, step } from "../db/db.ts";
import { blankOptionsOf, deleteExtensionsOf } from "../db/erase-writes.ts";
import { NOBODY } from "../db/scope.ts";
import { forgetTitle, resettle, uncount } from "../db/session-writes.ts";
import type { TurnDeps } from "./live.ts";
import { titleFrom } from "./text.ts";

/** What a user has said and done in conversations of others, who keep the rest. */

const AT_ONCE = 50;
const FIRST = "00000000-0000-0000-0000-000000000000";

const selectSaid = statement(["userId", "after", "limit"], (db, $) => {
  const { messages: m, conversations: c } = db.tables;
  return db
    .select({ id: m.id, conversationId: m.conversationId, role: m.role, content: m.content })
    .from(m)
    .innerJoin(c, eq(c.id, m.conversationId))
    .where(and(eq(m.senderId, $.userId), gt(m.id, $.after), ne(c.userId, $.userId), ne(c.userId, NOBODY)))
    .orderBy(asc(m.id))
    .limit($.limit);
});

const selectHung = statement(["userId", "after", "limit"], (db, $) => {
  const { messageExtensions: e, messages: m, conversations: c } = db.tables;
  return db
    .select({ id: e.id, messageId: m.id, conversationId: m.conversationId })
    .from(e)
    .innerJoin(m, eq(m.id, e.messageId))
    .innerJoin(c, eq(c.id, m.conversationId))
    .where(and(eq(e.authorId, $.userId), gt(e.id, $.after), ne(c.userId, $.userId), ne(c.userId, NOBODY)))
    .orderBy(asc(e.id))
    .limit($.limit);
});

export const nextRev = ({ tables: { conversations: c } }: Pick<Db, "tables">, id: unknown) =>
  sql<number>`(select ${c.rev} from ${c} where ${c.id} = ${id})`;

/** A guard: the next revision of a conversation, ended ones too, in which the user has said this message. */
const takeRevOfSaid = statement(["userId", "conversationId", "id"], (db, $) => {
  const { conversations: c, messages: m } = db.tables;
  const isSaid = sql`select 1 from ${m} where ${m.id} = ${$.id} and ${m.conversationId} = ${$.conversationId} and ${m.senderId} = ${$.userId}`;
  return db
    .update(c)
    .set({ rev: sql`${c.rev} + 1` })
    .where(sql`${c.id} = ${$.conversationId} and exists (${isSaid})`)
    .returning({ rev: c.rev });
});

/** The same of a conversation in which the user has hung this on a message. */
const takeRevOfHung = statement(["userId", "conversationId", "id"], (db, $) => {
  const { conversations: c, messages: m, messageExtensions: e } = db.tables;
  const isHung = sql`select 1 from ${e} join ${m} on ${m.id} = ${e.messageId} where ${e.id} = ${$.id} and ${m.conversationId} = ${$.conversationId} and ${e.authorId} = ${$.userId}`;
  return db
    .update(c)
    .set({ rev: sql`${c.rev} + 1` })
    .where(sql`${c.id} = ${$.conversationId} and exists (${isHung})`)
    .returning({ rev: c.rev });
});

const blankSaid = statement(["userId", "conversationId", "id", "now"], (db, $) => {
  const m = db.tables.messages;
  return db
    .update(m)
    .set({
      ...{ content: "", metadata: null, senderId: null, erasedAt: $.now },
      deletedAt: sql`coalesce(${m.deletedAt}, ${$.now})`,
      rev: nextRev(db, $.conversationId),
    })
    .where(and(eq(m.id, $.id), eq(m.senderId, $.userId)));
});

const stampMessage = statement(["conversationId", "messageId"], (db, $) => {
  const m = db.tables.messages;
  return db
    .update(m)
    .set({ rev: nextRev(db, $.conversationId) })
    .where(eq(m.id, $.messageId));
});

// What a message said before is its sender's, whoever has edited it.
const forgetEditor = statement(["userId", "id"], (db, $) => {
  const e = db.tables.messageExtensions;
  return db
    .update(e)
    .set({ authorId: null })
    .where(and(eq(e.id, $.id), eq(e.authorId, $.userId), eq(e.type, "edit_history")));
});

const deleteHung = statement(["userId", "id"], (db, $) => {
  const e = db.tables.messageExtensions;
  return db.delete(e).where(and(eq(e.id, $.id), eq(e.authorId, $.userId)));
});

type Deps = Pick<TurnDeps, "db" | "clock">;
type Row = { id: string; conversationId: string };

/** Blanks what a user said in conversations of others, as if it were deleted, and takes off what it hung on messages there. */
export async function blankElsewhere({ db, clock }: Deps, userId: string) {
  const messagesElsewhere = await inParts(
    (after) => db.all(selectSaid, { userId, after, limit: AT_ONCE }),
    (conversationId, rows) => {
      const now = clock();
      const of = (id: string) => ({ userId, conversationId, id, now });
      const titles = rows.filter(({ role }) => role === "user").map(({ content }) => titleFrom(content));
      return db.batch([
        guard(takeRevOfSaid, of(rows[0].id)),
        ...rows.flatMap(({ id }): Step<unknown>[] => [
          step(uncount, { conversationId, id }),
          step(blankOptionsOf, { id }),
          step(deleteExtensionsOf, { id }),
          step(blankSaid, of(id)),
          step(resettle, { conversationId, id }),
        ]),
        ...[...new Set(titles)].map((title) => step(forgetTitle, { conversationId, title })),
      ]);
    },
  );
  const extensionsElsewhere = await inParts(
    (after) => db.all(selectHung, { userId, after, limit: AT_ONCE }),
    (conversationId, rows) =>
      db.batch([
        guard(takeRevOfHung, { userId, conversationId, id: rows[0].id }),
        ...rows.flatMap(({ id, messageId }): Step<unknown>[] => [
          step(forgetEditor, { userId, id }),
          step(deleteHung, { userId, id }),
          step(stampMessage, { conversationId, messageId }),
        ]),
      ]),
  );
  return { messagesElsewhere, extensionsElsewhere };
}

type Page<R> = (after: string) => Promise<readonly R[]>;
type Change<R> = (conversationId: string, rows: readonly [R, ...R[]]) => Promise<unknown>;

/** Goes through rows in the order of their ids, and changes those of one conversation together. Gives how many there were. */
async function inParts<R extends Row>(page: Page<R>, change: Change<R>): Promise<number> {
  let changed = 0;
  for (let after = FIRST; ; ) {
    const rows = await page(after);
    for (const [conversationId, some] of Map.groupBy(rows, (row) => row.conversationId)) {
      const [first, ...others] = some;
      const done = first && (await change(conversationId, [first, ...others]).catch(nothingIfConflict));
      if (done) changed += some.length;
    }
    const last = rows.at(-1);
    if (!last || rows.length < AT_ONCE) return changed;
    after = last.id;
  }
}

/** It went with its conversation meanwhile. */
export function nothingIfConflict(error: unknown): undefined {
  if (!isConflict(error)) throw error;
}
