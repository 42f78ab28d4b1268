import { sql } from "drizzle-orm";
import { type Allowance, openTurnsOf, tokensOf } from "../db/allowance.ts";
import { statement } from "../db/db.ts";
import { AppError } from "./errors.ts";
import type { TurnDeps } from "./live.ts";

const DAY_MS = 24 * 60 * 60 * 1000;
/** Open turns end one by one: it is worth trying again soon, in seconds. */
const TURN_ENDS_S = 1;

/** What one user may take at the moment: a day is one of UTC. */
export const allowanceAt = ({ allowance }: Pick<TurnDeps, "allowance">, now: number): Allowance => ({
  mostTurns: allowance.turns,
  mostTokens: allowance.tokensADay,
  since: now - (now % DAY_MS),
});

const selectTaken = statement(["userId", "since"], (db, $) =>
  db
    .select({ turns: openTurnsOf(db, $.userId), tokens: tokensOf(db, $.userId, $.since) })
    .from(sql`(select 1) as once`),
);

/** Throws 429 where a user may begin no more turns: too many are open, or the day's tokens are used up. */
export async function refuseSpent(deps: TurnDeps, userId: string): Promise<void> {
  const now = deps.clock();
  const { mostTurns, mostTokens, since } = allowanceAt(deps, now);
  if (mostTurns === null && mostTokens === null) return;
  const [taken] = await deps.db.all(selectTaken, { userId, since });
  if (!taken) return;
  if (mostTurns !== null && taken.turns >= mostTurns) {
    const limit = { name: "turns", quota: mostTurns };
    const detail = `${mostTurns} turns of this user are open already; wait for one to end.`;
    throw new AppError("rate_limited", detail, { retryAfterS: TURN_ENDS_S, limit });
  }
  if (mostTokens !== null && taken.tokens >= mostTokens) {
    const retryAfterS = Math.ceil((since + DAY_MS - now) / 1000);
    const limit = { name: "tokens", quota: mostTokens, windowS: DAY_MS / 1000 };
    const detail = `The ${mostTokens} tokens that this user has a day (UTC) are used up.`;
    throw new AppError("quota_exceeded", detail, { retryAfterS, limit });
  }
}
