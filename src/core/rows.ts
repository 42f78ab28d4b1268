import { and, desc, eq, isNull, ne, or, sql } from "drizzle-orm";
import { type Db, statement } from "../db/db.ts";
import { inLedger, inScope, NOBODY, type Scope, scopeSlots } from "../db/scope.ts";
import type { Turn } from "../db/tables.ts";
import { notFound } from "./errors.ts";
import type { Actor } from "./identity.ts";
import type { Ended, SeenTurn, TurnRef } from "./live.ts";

/** Turns as their rows tell a caller of them. */

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

const selectEnd = statement([...scopeSlots, "turnId"], (db, $) => {
  const { turns: t, messages: m, conversations: c } = db.tables;
  const content = sql<string | null>`case when ${m.deletedAt} is null then ${m.content} end`;
  return db
    .select({ turn: t, content })
    .from(t)
    .leftJoin(c, and(eq(c.id, t.conversationId), ne(c.userId, NOBODY)))
    .leftJoin(m, and(eq(m.id, t.messageId), eq(m.conversationId, c.id)))
    .where(and(eq(t.id, $.turnId), or(inScope(db, $), and(isNull(c.id), inLedger(db, $)))));
});

/** How a turn stands, also after its conversation is deleted; of an answer that is deleted nothing is told. Throws 404 where it is not the actor's to see. */
export async function getEnd(db: Db, { turnId, seenBy }: SeenTurn): Promise<Ended> {
  const [row] = await db.all(selectEnd, { ...seenBy, turnId });
  if (!row) throw notFound("turn");
  return { turn: row.turn, content: row.content ?? "", alternatives: [] };
}

export const isOpen = ({ status }: Pick<Turn, "status">): boolean => status === "queued" || status === "in_progress";

export const refOf = (turn: Turn): TurnRef => ({
  turnId: turn.id,
  conversationId: turn.conversationId,
  questionId: turn.userMessageId,
  answerId: turn.messageId,
  model: turn.model,
});

export const seenTurn = (actor: Actor, turn: Turn): SeenTurn => ({ ...refOf(turn), seenBy: actor });

const selectOpen = statement([...scopeSlots, "conversationId"], (db, $) => {
  const { turns: t, messages: m, conversations: c } = db.tables;
  return db
    .select({ turn: t })
    .from(t)
    .innerJoin(m, eq(m.id, t.messageId))
    .innerJoin(c, eq(c.id, t.conversationId))
    .where(and(eq(t.conversationId, $.conversationId), inScope(db, $), sql`${t.status} in ('queued', 'in_progress')`))
    .orderBy(t.status, m.seq) // "in_progress" comes before "queued"
    .limit(1);
});

/** The turn that keeps a conversation busy. */
export async function openTurn(db: Db, scope: Scope, conversationId: string): Promise<Turn | undefined> {
  const [row] = await db.all(selectOpen, { ...scope, conversationId });
  return row?.turn;
}

const selectAlternatives = statement([...scopeSlots, "turnId", "conversationId"], (db, $) => {
  const { messages: m, turns: t, conversations: c } = db.tables;
  return db
    .select({ id: m.id, content: m.content, target: m.model })
    .from(m)
    .innerJoin(t, eq(t.id, m.turnId))
    .innerJoin(c, eq(c.id, m.conversationId))
    .where(
      and(
        eq(m.conversationId, $.conversationId),
        inScope(db, $),
        eq(t.id, $.turnId),
        eq(m.role, "assistant"),
        eq(m.status, "completed"),
        sql`${m.id} <> ${t.messageId} and ${m.deletedAt} is null`,
      ),
    )
    .orderBy(desc(m.seq)); // the first took the highest
});

/** The other whole answers that a turn made in one go. */
export async function readAlternatives(db: Db, { turnId, conversationId, seenBy }: SeenTurn) {
  const rows = await db.all(selectAlternatives, { ...seenBy, turnId, conversationId });
  return rows.map((row) => ({ ...row, target: row.target ?? "" }));
}
