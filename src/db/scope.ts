import { type AnyColumn, type SQL, sql } from "drizzle-orm";
import type { Source } from "./db.ts";

/** Whose rows a statement may touch. It stands in the WHERE of every one that is made for a caller. */
export type Scope = {
  /** The caller's own user id. */
  readonly self: string;
  /** `own`: the caller's conversations; `live`: these and every live one; `all`: everybody's. */
  readonly sees: "own" | "live" | "all";
  /** A user that was named: nobody else's rows, whatever the caller may see. */
  readonly owner: string | null;
};

export const scopeSlots = ["self", "sees", "owner"] as const;

type ScopeSlots = { self: never; sees: never; owner: never };

/**
 * The condition that a conversation is in scope; its slots are `self`, `sees` and `owner`. Without `live` ones, those that
 * are in scope for whose they are: so much an index tells.
 */
export function inScope(db: Source, slots: ScopeSlots, { live = true } = {}): SQL {
  const t = db.tables.conversations;
  const others = live ? sql` or (${seesOf(slots)} = 'live' and ${t.isLive})` : sql``;
  return sql`((${mine(t.userId, slots)}${others}) and ${named(t.userId, slots)})`;
}

/** The same for a turn as the ledger has it: it tells whose a turn was when the conversation is gone, but not what was live. */
export function inLedger(db: Source, slots: ScopeSlots): SQL {
  const t = db.tables.turns;
  return sql`(${mine(t.userId, slots)} and ${named(t.userId, slots)})`;
}

const seesOf = ({ sees }: ScopeSlots): SQL => sql`cast(${sees} as text)`;

const mine = (userId: AnyColumn, slots: ScopeSlots): SQL =>
  sql`(${userId} = ${slots.self} or ${seesOf(slots)} = 'all')`;

function named(userId: AnyColumn, slots: ScopeSlots): SQL {
  const owner = sql`cast(${slots.owner} as text)`;
  return sql`(${owner} is null or ${userId} = ${owner})`;
}
