import { sql } from "drizzle-orm";
import { guard, type Source, type Step, statement } from "./db.ts";

/** What one user may take; null for no limit. */
export type Allowance = {
  /** Turns that are open at once. */
  readonly mostTurns: number | null;
  /** Tokens of turns that began at `since` or later, in milliseconds. */
  readonly mostTokens: number | null;
  readonly since: number;
};

/** Open turns of a user. One that is to be cancelled ends in a moment, and counts no more. */
export const openTurnsOf = ({ tables: { turns: t } }: Source, userId: unknown) =>
  sql<number>`(select cast(count(*) as integer) from ${t} where ${t.userId} = ${userId} and status in ('queued', 'in_progress') and ${t.cancelRequestedAt} is null)`;

/** Tokens that a user's turns took since a moment, whatever became of their conversations. */
export function tokensOf(db: Source, userId: unknown, since: unknown) {
  const { turns: t } = db.tables;
  const [input, output] = [db.numberIn(t.usage, "input_tokens"), db.numberIn(t.usage, "output_tokens")];
  return sql<number>`(select coalesce(sum(${input} + ${output}), 0) from ${t} where ${t.userId} = ${userId} and ${t.createdAt} >= ${since})`;
}

const isAllowed = statement(["conversationId", "userId", "mostTurns", "mostTokens", "since"], (db, $) => {
  const { conversations: c } = db.tables;
  const owner = sql`coalesce((select ${c.userId} from ${c} where ${c.id} = ${$.conversationId}), cast(${$.userId} as text))`;
  const mostTurns = sql`cast(${$.mostTurns} as integer)`;
  const mostTokens = sql`cast(${$.mostTokens} as bigint)`;
  return db
    .select({ allowed: sql<number>`1` })
    .from(sql`(select 1) as once`)
    .where(
      sql`(${mostTurns} is null or ${openTurnsOf(db, owner)} < ${mostTurns}) and (${mostTokens} is null or ${tokensOf(db, owner, $.since)} < ${mostTokens})`,
    );
});

type Asked = Allowance & { conversationId: string; userId: string };

/**
 * A guard that the conversation's owner, or else the user of a new one, may begin another turn. On Postgres turns that
 * begin at the same instant do not see each other, and may go past it by as many.
 */
export const allowanceSteps = (asked: Asked): Step<unknown>[] =>
  asked.mostTurns === null && asked.mostTokens === null ? [] : [guard(isAllowed, asked)];
