import { and, eq, type SQL, sql } from "drizzle-orm";
import { type Source, statement } from "./db.ts";
import { inScope, scopeSlots } from "./scope.ts";

/** The room that a message has for what hangs on it: its earlier texts have one, all else has another. */

type Room = { mostOwn: number; mostOfAll: number; bytesOwn: number; bytesOfAll: number };

const ROWS = { mostOwn: 100, mostOfAll: 1_000 };
/** The longest text fits in, of two who edit it. */
const EARLIER_TEXTS: Room = { ...ROWS, bytesOwn: 147_456, bytesOfAll: 294_912 };
const ALL_ELSE: Room = { ...ROWS, bytesOwn: 65_536, bytesOfAll: 98_304 };

/** What one author, and all, may hang on a message at most: so many, and so many bytes of JSON. */
export const roomFor = (type: string): Room => (type === "edit_history" ? EARLIER_TEXTS : ALL_ELSE);

/** How many there are in the room of a type, and how many bytes they take, of one author and of all; and when the newest was hung there. */
export const selectTaken = statement([...scopeSlots, "messageId", "authorId", "type"], (db, $) => {
  const { messageExtensions: e, messages: m, conversations: c } = db.tables;
  const own = sql`case when ${e.authorId} = ${$.authorId} then 1 else 0 end`;
  const bytes = db.bytesOf(e.data);
  return db
    .select({
      rowsOwn: whole(sql`sum(${own})`),
      rowsOfAll: whole(sql`count(*)`),
      bytesOwn: whole(sql`sum(${own} * ${bytes})`),
      bytesOfAll: whole(sql`sum(${bytes})`),
      newestAt: sql<number>`coalesce(max(${e.createdAt}), 0)`.mapWith(Number),
    })
    .from(e)
    .innerJoin(m, eq(m.id, e.messageId))
    .innerJoin(c, eq(c.id, m.conversationId))
    .where(and(eq(e.messageId, $.messageId), inScope(db, $), isInRoom(db, $.type)));
});

const whole = (sum: SQL) => sql<number>`cast(coalesce(${sum}, 0) as integer)`;

const isText = (db: Source): SQL => sql`(${db.tables.messageExtensions.type} = 'edit_history')`;

const isInRoom = (db: Source, type: never): SQL => sql`${isText(db)} = (cast(${type} as text) = 'edit_history')`;

const roomSlots = ["bytes", "mostOwn", "mostOfAll", "bytesOwn", "bytesOfAll"] as const;

/** A guard: the message has room for one more of its author's, and none of the author's is this reaction (null for any other type). */
export const hasRoom = statement(["messageId", "authorId", "type", "emoji", ...roomSlots], (db, $) => {
  const { messages: m, messageExtensions: e } = db.tables;
  const emoji = sql`cast(${$.emoji} as text)`;
  const of = sql`from ${e} where ${e.messageId} = ${$.messageId}`;
  const own = sql`${e.authorId} = ${$.authorId}`;
  const inRoom = sql`${of} and ${isInRoom(db, $.type)}`;
  const taken = sql`coalesce(sum(${db.bytesOf(e.data)}), 0) + cast(${$.bytes} as integer)`;
  return db
    .select({ id: m.id })
    .from(m)
    .where(sql`${m.id} = ${$.messageId}
      and (select count(*) ${inRoom} and ${own}) < cast(${$.mostOwn} as integer)
      and (select count(*) ${inRoom}) < cast(${$.mostOfAll} as integer)
      and (select ${taken} ${inRoom} and ${own}) <= cast(${$.bytesOwn} as integer)
      and (select ${taken} ${inRoom}) <= cast(${$.bytesOfAll} as integer)
      and (${emoji} is null or not exists (select 1 ${of} and ${e.type} = 'reaction' and ${own} and ${db.textIn(e.data, "emoji")} = ${emoji}))`);
});

/** Of each extension that a select finds: how many bytes those of the same room take that are newer. */
export function ahead(db: Source) {
  const e = db.tables.messageExtensions;
  const bytes = db.bytesOf(e.data);
  const newestFirst = sql`partition by ${e.messageId}, ${isText(db)} order by ${e.createdAt} desc, ${e.id} desc`;
  return {
    id: e.id,
    isText: sql<boolean>`${isText(db)}`.as("is_text"),
    ahead: sql<number>`sum(${bytes}) over (${newestFirst} rows unbounded preceding) - ${bytes}`.as("newer"),
  };
}

/** The condition that an extension is read: a database may hold more on a message from a time when there was more room. The newest are. */
export const isRead = (found: { isText: SQL.Aliased<boolean>; ahead: SQL.Aliased<number> }): SQL =>
  sql`${found.ahead} < case when ${found.isText} then ${most(EARLIER_TEXTS)} else ${most(ALL_ELSE)} end`;

const most = ({ bytesOfAll }: Room): SQL => sql.raw(String(bytesOfAll));
