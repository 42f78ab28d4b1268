import { and, asc, gte, isNotNull, lt, sql } from "drizzle-orm";
import { type Db, statement } from "../db/db.ts";
import { inLedger, scopeSlots } from "../db/scope.ts";
import { AppError } from "./errors.ts";
import type { Actor } from "./identity.ts";

/** What turns used: tokens, and US dollars where the price is known. */
export type Used = {
  turns: number;
  inputTokens: number;
  outputTokens: number;
  /** Turns whose tokens were estimated, since their provider sent none. */
  estimatedTurns: number;
  /** null where no price is known. */
  cost: number | null;
  /** Turns that used tokens of an unknown price: the cost is without them. */
  unpricedTurns: number;
};

export type UsedByModel = Used & { model: string };

const selectUsage = statement([...scopeSlots, "from", "to"], (db, $) => {
  const t = db.tables.turns;
  const input = db.numberIn(t.usage, "input_tokens");
  const output = db.numberIn(t.usage, "output_tokens");
  return db
    .select({
      model: sql<string>`${t.target}`.as("answered_by"),
      turns: sql<number>`cast(count(*) as integer)`,
      inputTokens: sql<number>`coalesce(sum(${input}), 0)`,
      outputTokens: sql<number>`coalesce(sum(${output}), 0)`,
      estimatedTurns: sql<number>`cast(sum(case when ${db.flagIn(t.usage, "estimated")} then 1 else 0 end) as integer)`,
      cost: sql<number | null>`sum(${t.cost})`,
      unpricedTurns: sql<number>`cast(sum(case when ${t.cost} is null and ${input} is not null then 1 else 0 end) as integer)`,
    })
    .from(t)
    .where(and(inLedger(db, $), isNotNull(t.target), gte(t.createdAt, $.from), lt(t.createdAt, $.to)))
    .groupBy(t.target)
    .orderBy(asc(t.target));
});

/**
 * What turns that began in `[from, to)`, in milliseconds, used by the model that answered: of the actor's user, or of all
 * where the actor may see all and names nobody. Throws 403 where an agent names somebody else.
 */
export async function readUsage(
  db: Db,
  actor: Actor,
  { from, to }: { from: number; to: number },
): Promise<UsedByModel[]> {
  const { self, sees, owner } = actor;
  if (sees !== "all" && owner !== null && owner !== self) {
    throw new AppError("forbidden", "What others used is for an admin to see; leave user_id out.");
  }
  return db.all(selectUsage, { ...actor, from, to });
}
