import { type AnyColumn, type SQL, sql } from "drizzle-orm";
import type { Source } from "./db.ts";
import type { Conversation } from "./tables.ts";

/** Whose rows a statement may touch. It stands in the WHERE of every one that is made for a caller. */
export type Scope = {
  /** The caller's own user id. */
  readonly self: string;
  /** `own`: the caller's conversations; `live`: these and every live one; `all`: everybody's. */
  readonly sees: "own" | "live" | "all";
  /** A user that was named: nobody else's rows, whatever the caller may see. */
  readonly owner: string | null;
};

/** Whose a conversation is that is deleted and not yet cleared away, and a turn whose user is erased: no caller's id is empty. */
export const NOBODY = "";

export const scopeSlots = ["self", "sees", "owner"] as const;

type ScopeSlots = { self: never; sees: never; owner: never };

/**
 * The condition that a conversation is in scope; its slots are `self`, `sees` and `owner`. Of one user's, whom another slot
 * names, it is decided once for all rows, by whose they are: those that are in scope for being live are left out.
 */
export function inScope(db: Source, slots: ScopeSlots, { of }: { of?: never } = {}): SQL {
  const t = db.tables.conversations;
  if (of !== undefined) return sql`(${mine(textOf(of), slots)} and ${named(textOf(of), slots)})`;
  const live = sql`(${seesOf(slots)} = 'live' and ${t.isLive})`;
  return sql`((${mine(t.userId, slots)} or ${live}) and ${named(t.userId, slots)} and ${t.userId} <> '')`;
}

/** The same of a row that is at hand. */
export const isInScope = (
  { userId, isLive }: Pick<Conversation, "userId" | "isLive">,
  { self, sees, owner }: Scope,
): boolean =>
  (userId === self || sees === "all" || (sees === "live" && isLive)) && (owner === null || userId === owner);

/** The same for a turn as the ledger has it: it tells whose a turn was when the conversation is gone, but not what was live. */
export function inLedger(db: Source, slots: ScopeSlots): SQL {
  const t = db.tables.turns;
  return sql`(${mine(t.userId, slots)} and ${named(t.userId, slots)})`;
}

const textOf = (slot: never): SQL => sql`cast(${slot} as text)`;
const seesOf = ({ sees }: ScopeSlots): SQL => textOf(sees);

const mine = (userId: AnyColumn | SQL, slots: ScopeSlots): SQL =>
  sql`(${userId} = ${slots.self} or ${seesOf(slots)} = 'all')`;

function named(userId: AnyColumn | SQL, slots: ScopeSlots): SQL {
  const owner = textOf(slots.owner);
  return sql`(${owner} is null or ${userId} = ${owner})`;
}
