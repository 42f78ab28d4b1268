import { type AnyColumn, type SQL, sql } from "drizzle-orm";
import type { Source } from "./db.ts";

/** Messages are read in parts, so that what a request holds does not grow with the messages that it covers. */

/** A part ends with the message that fills it up, in bytes. */
export const PART_BYTES = 65_536;
/** Messages of a part, at most. */
export const PART_ROWS = 200;
/** What a message takes beside its texts, in bytes. */
const ROW_BYTES = 256;

type Place = { seq: AnyColumn; rev: AnyColumn };

type Wanted = {
  where: SQL | undefined;
  /** The order in which the parts follow each other. */
  order(place: Place): SQL[];
  /** Whether what hangs on the messages is read with them. */
  hanging?: boolean;
  rows?: number;
};

/**
 * The first of the messages that are wanted, with their ids: `ahead` says how many bytes stand before each, `bytes` how
 * many are its own, `hung` what hangs on it. A statement that joins the messages to it and takes those that are `inPart` reads one part, one message at least.
 */
export function firstPart(db: Source, { where, order, hanging = false, rows = PART_ROWS }: Wanted) {
  const { messages: m, messageExtensions: e, conversations: c } = db.tables;
  // In a select from one table Drizzle leaves the tables' names out; the join keeps them.
  const hung = sql`(select coalesce(sum(${db.bytesOf(e.data)}), 0) from ${e} where ${e.messageId} = ${m.id})`;
  const own = sql`${m.size} + ${sql.raw(String(ROW_BYTES))}`;
  const noted = sql`coalesce(${db.bytesOf(m.metadata)}, 0)`;
  const found = db
    .select({
      id: m.id,
      seq: m.seq,
      rev: m.rev,
      own: sql<number>`${hanging ? sql`${own} + ${noted}` : own}`.as("own"),
      hung: sql<number>`cast(${hanging ? hung : sql`0`} as integer)`.as("hung"),
    })
    .from(m)
    .innerJoin(c, sql`${c.id} = ${m.conversationId}`)
    .where(where)
    .orderBy(...order(m))
    .limit(rows)
    .as("found");
  const bytes = sql`(${found.own} + ${found.hung})`;
  const inOrder = sql`order by ${sql.join(order(found), sql`, `)}`;
  const upTo = sql`sum(${bytes}) over (${inOrder} rows unbounded preceding)`;
  return db
    .select({
      id: found.id,
      hung: found.hung,
      bytes: sql<number>`${bytes}`.as("bytes"),
      ahead: sql<number>`cast(${upTo} - ${bytes} as integer)`.as("ahead"),
      nextSeq: sql<number | null>`lead(${found.seq}) over (${inOrder})`.as("next_seq"),
      nextRev: sql<number | null>`lead(${found.rev}) over (${inOrder})`.as("next_rev"),
    })
    .from(found)
    .as("part");
}

type Measured = { ahead: number; bytes: number };

/** The condition that a message still belongs to the part. */
export const inPart = (part: { ahead: SQL.Aliased<number> }): SQL =>
  sql`${part.ahead} < ${sql.raw(String(PART_BYTES))}`;

/** Whether another part may follow this one. */
export function mayGoOn(rows: readonly Measured[], most = PART_ROWS): boolean {
  const last = rows.at(-1);
  return last !== undefined && (rows.length === most || last.ahead + last.bytes >= PART_BYTES);
}
