import { and, desc, eq, isNull, sql } from "drizzle-orm";
import { type Db, guard, isConflict, statement, step } from "../db/db.ts";
import { inScope, scopeSlots } from "../db/scope.ts";
import type { Turn } from "../db/tables.ts";
import { notFound } from "./errors.ts";
import type { Actor } from "./identity.ts";
import type { Ended, TurnRef, TurnState } from "./live.ts";

/** Turns as their rows tell of them. */

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
  const content = sql<string | null>`case when ${m.deletedAt} is null then ${m.content} end`;
  return db.select({ turn: t, content }).from(t).leftJoin(m, eq(m.id, t.messageId)).where(eq(t.id, $.turnId));
});

/** How a turn stands in its row, whose caller has shown that it may see it. */
export async function readEnd(db: Db, turnId: string): Promise<Ended> {
  const [row] = await db.all(selectEnd, { turnId });
  if (!row) throw new Error("a turn has left the ledger");
  return { turn: row.turn, content: row.content ?? "", alternatives: [] };
}

const selectTurn = statement([...scopeSlots, "turnId"], (db, $) => {
  const { turns: t, conversations: c } = db.tables;
  return db
    .select({ turn: t })
    .from(t)
    .innerJoin(c, eq(c.id, t.conversationId))
    .where(and(eq(t.id, $.turnId), inScope(db, $)));
});

/** Throws 404 where it is unknown, not the actor's to see, or its conversation is deleted. */
export async function getTurn(db: Db, actor: Actor, turnId: string): Promise<Turn> {
  const [row] = await db.all(selectTurn, { ...actor, turnId });
  if (!row) throw notFound("turn");
  return row.turn;
}

export const isOpen = ({ status }: Pick<Turn, "status">): boolean => status === "queued" || status === "in_progress";

export const refOf = (turn: Turn): TurnRef => ({
  turnId: turn.id,
  conversationId: turn.conversationId,
  questionId: turn.userMessageId,
  answerId: turn.messageId,
  model: turn.model,
});

const selectOpen = statement(["conversationId"], (db, $) => {
  const t = db.tables.turns;
  return db
    .select()
    .from(t)
    .where(and(eq(t.conversationId, $.conversationId), sql`status in ('queued', 'in_progress')`))
    .orderBy(t.status, t.createdAt) // "in_progress" comes before "queued"
    .limit(1);
});

/** The turn that keeps a conversation busy, which the caller has shown to be the actor's. */
export async function openTurn(db: Db, conversationId: string): Promise<Turn | undefined> {
  const [row] = await db.all(selectOpen, { conversationId });
  return row;
}

const selectAlternatives = statement(["turnId", "conversationId"], (db, $) => {
  const { messages: m, turns: t } = db.tables;
  return db
    .select({ id: m.id, content: m.content, target: m.model })
    .from(m)
    .innerJoin(t, eq(t.id, m.turnId))
    .where(
      and(
        eq(m.conversationId, $.conversationId),
        eq(t.id, $.turnId),
        eq(m.role, "assistant"),
        eq(m.status, "completed"),
        sql`${m.id} <> ${t.messageId} and ${m.deletedAt} is null`,
      ),
    )
    .orderBy(desc(m.seq)); // the first took the highest
});

/** The other whole answers that a turn made in one go. */
export async function readAlternatives(db: Db, { turnId, conversationId }: TurnRef) {
  const rows = await db.all(selectAlternatives, { turnId, conversationId });
  return rows.map((row) => ({ ...row, target: row.target ?? "" }));
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
