import { type SQL, sql } from "drizzle-orm";
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

/** The condition that a conversation is in scope; its slots are `self`, `sees` and `owner`. */
export function inScope(db: Source, slots: { self: never; sees: never; owner: never }): SQL {
  const t = db.tables.conversations;
  const owner = sql`cast(${slots.owner} as text)`;
  const sees = sql`cast(${slots.sees} as text)`;
  return sql`(${t.userId} = ${slots.self} or ${sees} = 'all' or (${sees} = 'live' and ${t.isLive})) and (${owner} is null or ${t.userId} = ${owner})`;
}
