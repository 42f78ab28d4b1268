import { and, count, desc, eq, inArray, isNull, lt, ne, type SQL } from "drizzle-orm";
import { type Db, type Source, statement } from "../db/db.ts";
import { inScope, scopeSlots } from "../db/scope.ts";
import type { Message } from "../db/tables.ts";
import type { Placed } from "./context.ts";
import type { Actor } from "./identity.ts";

/** Messages with text, whole or cut off; deleted, superseded and failed ones are left out, and notes of the system. */
function listed(db: Source): SQL | undefined {
  const m = db.tables.messages;
  return and(
    ne(m.role, "system"),
    inArray(m.status, ["completed", "incomplete"]),
    ne(m.content, ""),
    isNull(m.deletedAt),
    isNull(m.supersededAt),
  );
}

const NEWEST = 2 ** 31 - 1;

const selectPage = statement([...scopeSlots, "conversationId", "before", "limit"], (db, $) => {
  const m = db.tables.messages;
  const c = db.tables.conversations;
  return db
    .select({ message: m })
    .from(m)
    .innerJoin(c, eq(c.id, m.conversationId))
    .where(and(eq(m.conversationId, $.conversationId), inScope(db, $), lt(m.seq, $.before), listed(db)))
    .orderBy(desc(m.seq))
    .limit($.limit);
});

export type MessagePage = { rows: Message[]; next: number | null };

/**
 * The newest `limit` messages of a conversation that lists show, oldest first; `next` is the `before` that leads to
 * older ones. Empty where the conversation is not the actor's to see.
 */
export async function listMessages(
  db: Db,
  actor: Actor,
  { conversationId, limit, before = NEWEST }: { conversationId: string; limit: number; before?: number | undefined },
): Promise<MessagePage> {
  const found = await db.all(selectPage, { ...actor, conversationId, before, limit: limit + 1 });
  const rows = found
    .slice(0, limit)
    .map((row) => row.message)
    .reverse();
  return { rows, next: found.length > limit ? (rows[0]?.seq ?? null) : null };
}

const selectShown = statement(["conversationId", "before", "limit"], (db, $) => {
  const m = db.tables.messages;
  return db
    .select({ seq: m.seq, role: m.role, senderId: m.senderId, content: m.content })
    .from(m)
    .where(and(eq(m.conversationId, $.conversationId), lt(m.seq, $.before), listed(db)))
    .orderBy(desc(m.seq))
    .limit($.limit);
});

const countShown = statement(["conversationId", "before"], (db, $) => {
  const m = db.tables.messages;
  return db
    .select({ total: count() })
    .from(m)
    .where(and(eq(m.conversationId, $.conversationId), lt(m.seq, $.before), listed(db)));
});

const CONTEXT_PAGE = 200;

/**
 * What a model may be shown below `before`, newest first, read until `enough` says so; `older` counts what was not read.
 * The caller has shown that the conversation is the actor's: this runs inside a turn that was begun in scope.
 */
export async function readContext(
  db: Db,
  {
    conversationId,
    before,
    enough,
  }: { conversationId: string; before: number; enough(read: readonly Placed[]): boolean },
): Promise<{ newestFirst: Placed[]; older: number }> {
  const newestFirst: Placed[] = [];
  let oldest = before;
  for (;;) {
    const page = await db.all(selectShown, { conversationId, before: oldest, limit: CONTEXT_PAGE });
    newestFirst.push(...page);
    oldest = page.at(-1)?.seq ?? oldest;
    if (page.length < CONTEXT_PAGE) return { newestFirst, older: 0 };
    if (enough(newestFirst)) break;
  }
  const [rest] = await db.all(countShown, { conversationId, before: oldest });
  return { newestFirst, older: rest?.total ?? 0 };
}
