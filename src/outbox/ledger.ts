import type { Conversation, Tombstone } from "../db/tables.ts";

/** Who is told of every change, and where it stands how far. */

/** The column of conversations and tombstones that says how far, and the table of what is being told or failed. */
export type Ledger = {
  readonly cursor: "told" | "mirrored";
  readonly claims: "deliveries" | "mirrorings";
  /** As a log line begins. */
  readonly name: string;
};

export const WEBHOOK: Ledger = { cursor: "told", claims: "deliveries", name: "the webhook" };
export const STREAM: Ledger = { cursor: "mirrored", claims: "mirrorings", name: "Stream Chat" };

/** A conversation, or what is left of a deleted one, that has changed after the revision `after`. */
export type Untold = { readonly after: number } & (
  | { readonly session: Conversation; readonly tombstone: null }
  | { readonly session: null; readonly tombstone: Tombstone }
);
