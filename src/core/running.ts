import { and, count, desc, eq, isNull, lt, sql } from "drizzle-orm";
import { type Db, guard, isConflict, statement, step } from "../db/db.ts";
import { firstPart, inPart, mayGoOn } from "../db/parts.ts";
import type { Placed } from "./context.ts";
import type { Ended, TurnState } from "./live.ts";
import { listed } from "./messages.ts";

/**
 * What a process reads and writes of the turns that it runs. They were begun in scope and are the process's own since: no
 * caller stands behind these statements, so no scope stands in them, and no surface may call them.
 */

const claimSlot = statement(["turnId", "conversationId", "seq", "leaseMs"], (db, $) => {
  const { turns: t, messages: m } = db.tables;
  const others = (condition: ReturnType<typeof sql>) =>
    sql`not exists (select 1 from turns o join ${m} on ${m.id} = o.message_id where o.conversation_id = ${$.conversationId} and o.status in ('queued', 'in_progress') and ${condition})`;
  return db
    .update(t)
    .set({ status: "in_progress", leaseUntil: sql`${db.now} + ${$.leaseMs}` })
    .where(
      and(
        eq(t.id, $.turnId),
        eq(t.status, "queued"),
        others(sql`o.status = 'in_progress'`),
        others(sql`o.status = 'queued' and ${m.seq} < ${$.seq}`),
      ),
    )
    .returning({ id: t.id });
});

type Claim = { turnId: string; conversationId: string; seq: number; leaseMs: number };

/** Promotes a queued turn if its conversation is free and nothing stands before it in line; tells whether it did. */
export async function takeSlot(db: Db, claim: Claim): Promise<boolean> {
  try {
    await db.batch([guard(claimSlot, claim)]);
    return true;
  } catch (error) {
    if (!isConflict(error)) throw error;
    return false;
  }
}

const selectEnd = statement(["turnId"], (db, $) => {
  const { turns: t, messages: m } = db.tables;
  return db
    .select({ turn: t, content: m.content })
    .from(t)
    .leftJoin(m, eq(m.id, t.messageId))
    .where(eq(t.id, $.turnId));
});

/** How a turn of this process stands in its row, also where somebody else has ended it. */
export async function readEnd(db: Db, turnId: string): Promise<Ended> {
  const [row] = await db.all(selectEnd, { turnId });
  if (!row) throw new Error("a turn has left the ledger");
  return { turn: row.turn, content: row.content ?? "", alternatives: [] };
}

const selectShown = statement(["conversationId", "before"], (db, $) => {
  const m = db.tables.messages;
  const part = firstPart(db, {
    where: and(eq(m.conversationId, $.conversationId), lt(m.seq, $.before), listed(db)),
    order: ({ seq }) => [desc(seq)],
  });
  const { seq, role, senderId, content } = m;
  return db
    .select({ seq, role, senderId, content, ahead: part.ahead, bytes: part.bytes })
    .from(part)
    .innerJoin(m, eq(m.id, part.id))
    .where(inPart(part))
    .orderBy(desc(m.seq));
});

const countShown = statement(["conversationId", "before"], (db, $) => {
  const m = db.tables.messages;
  return db
    .select({ total: count() })
    .from(m)
    .where(and(eq(m.conversationId, $.conversationId), lt(m.seq, $.before), listed(db)));
});

/**
 * What a model may be shown below `before`, newest first, read part by part until `enough` says so; `older` counts what was
 * not read.
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
    const part = await db.all(selectShown, { conversationId, before: oldest });
    newestFirst.push(...part.map(({ ahead: _, bytes: __, ...shown }) => shown));
    oldest = part.at(-1)?.seq ?? oldest;
    if (!mayGoOn(part)) return { newestFirst, older: 0 };
    if (enough(newestFirst)) break;
  }
  const [rest] = await db.all(countShown, { conversationId, before: oldest });
  return { newestFirst, older: rest?.total ?? 0 };
}

const writeUse = statement(["id", "conversationId", "target", "usage", "cost", "attempts"], (db, $) => {
  const { turns: t, conversations: c } = db.tables;
  return db
    .update(t)
    .set({ target: $.target, usage: $.usage, cost: $.cost, attempts: $.attempts })
    .where(
      and(
        eq(t.id, $.id),
        isNull(t.usage),
        sql`${t.status} = 'failed' and not exists (select 1 from ${c} where ${c.id} = ${$.conversationId})`,
      ),
    );
});

/** What a turn used whose conversation was deleted while it ran: its provider is paid, and deletion resets no budget. */
export async function recordUse(db: Db, turn: TurnState): Promise<void> {
  await db.batch([step(writeUse, turn)]);
}
