import { and, eq, sql } from "drizzle-orm";
import { guard, type Statement, type Step, statement, step } from "./db.ts";
import { inScope, type Scope, scopeSlots } from "./scope.ts";

/** The statements that stop turns: the running one is marked, for its owner to see; those in line are closed. */

const lock = statement([...scopeSlots, "conversationId"], (db, $) => {
  const c = db.tables.conversations;
  return db
    .update(c)
    .set({ rev: sql`${c.rev} + 1` })
    .where(and(eq(c.id, $.conversationId), inScope(db, $)))
    .returning({ id: c.id });
});

const ofThese = sql`status in ('queued', 'in_progress')`;

// Marked first: that locks them, so that none in line is promoted while the rest goes on.
const mark: Statement<"conversationId" | "only" | "now", { id: string }> = statement(
  ["conversationId", "only", "now"],
  (db, $) => {
    const t = db.tables.turns;
    const only = sql`cast(${$.only} as text)`;
    return db
      .update(t)
      .set({ cancelRequestedAt: sql`coalesce(${t.cancelRequestedAt}, ${$.now})` })
      .where(
        and(eq(t.conversationId, $.conversationId), ofThese, sql`(${only} is null or cast(${t.id} as text) = ${only})`),
      )
      .returning({ id: t.id });
  },
);

const failAnswers = statement(["conversationId"], (db, $) => {
  const { conversations: c, messages: m, turns: t } = db.tables;
  const marked = sql`select ${t.messageId} from ${t} where ${t.conversationId} = ${$.conversationId} and ${ofThese} and status = 'queued' and ${t.cancelRequestedAt} is not null`;
  return db
    .update(m)
    .set({ status: "failed", rev: sql`(select ${c.rev} from ${c} where ${c.id} = ${$.conversationId})` })
    .where(sql`${m.id} in (${marked})`);
});

const closeMarked = statement(["conversationId", "error", "now"], (db, $) => {
  const t = db.tables.turns;
  return db
    .update(t)
    .set({ status: "failed", error: $.error, leaseUntil: null, completedAt: $.now })
    .where(
      and(
        eq(t.conversationId, $.conversationId),
        ofThese,
        sql`${t.status} = 'queued' and ${t.cancelRequestedAt} is not null`,
      ),
    );
});

const recountOpen = statement(["conversationId"], (db, $) => {
  const { conversations: c, turns: t } = db.tables;
  return db
    .update(c)
    .set({ openTurns: sql`(select count(*) from ${t} where ${t.conversationId} = ${$.conversationId} and ${ofThese})` })
    .where(eq(c.id, $.conversationId));
});

/** Where the ids of the stopped turns stand in the rows of `stopSteps`. */
export const MARKED = 1;

type Stopped = { conversationId: string; now: number };

/** Stops all open turns of a conversation, or one. The first guard keeps it to who may see it. */
export const stopSteps = (input: Scope & Stopped, only: string | null): readonly Step<unknown>[] => [
  guard(lock, input),
  ...stopOpenSteps(input, only),
];

/** The same behind a guard that has taken the conversation's next revision. The first gives the ids of what it stops. */
export function stopOpenSteps(
  input: Stopped,
  only: string | null,
): readonly [Step<{ id: string }>, ...Step<unknown>[]] {
  const error = { code: "turn_cancelled", detail: "The turn was cancelled." };
  const values = { ...input, only, error };
  return [step(mark, values), step(failAnswers, values), step(closeMarked, values), step(recountOpen, values)];
}
