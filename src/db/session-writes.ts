import { and, eq, ne, sql } from "drizzle-orm";
import { later, statement } from "./db.ts";
import { listedAs } from "./listed.ts";
import { inScope, scopeSlots } from "./scope.ts";

/** The statements with which people change a session. The first of each batch takes the conversation's next revision. */

const sameAs = (column: unknown, slot: unknown) =>
  sql`cast(${column} as text) is not distinct from cast(${slot} as text)`;

/** A guard: changes hands from the very state that was looked at, so that of two movers one wins. */
export const moveSessionRow = statement(
  [
    ...scopeSlots,
    "conversationId",
    "before",
    "agentBefore",
    "metadataBefore",
    "status",
    "control",
    "agentId",
    "isLive",
    "metadata",
    "waits",
    "endedAt",
    "now",
  ],
  (db, $) => {
    const t = db.tables.conversations;
    return db
      .update(t)
      .set({
        rev: sql`${t.rev} + 1`,
        status: $.status,
        control: $.control,
        agentId: $.agentId,
        isLive: $.isLive,
        metadata: $.metadata,
        queuedAt: sql`case when cast(${$.waits} as integer) = 1 then coalesce(${t.queuedAt}, ${db.now}) end`,
        endedAt: $.endedAt,
        updatedAt: later(t.updatedAt, $.now),
      })
      .where(
        and(
          eq(t.id, $.conversationId),
          inScope(db, $),
          sql`${t.status} || ' ' || ${t.control} = ${$.before}`,
          sameAs(t.agentId, $.agentBefore),
          sameAs(t.metadata, $.metadataBefore),
        ),
      )
      .returning();
  },
);

/** A guard: room for one message in a session that has not ended. */
export const takeMessageRev = statement(
  [...scopeSlots, "conversationId", "listed", "title", "preview", "now"],
  (db, $) => {
    const t = db.tables.conversations;
    const listed = sql`cast(${$.listed} as integer)`;
    return db
      .update(t)
      .set({
        rev: sql`${t.rev} + 1`,
        messageCount: sql`${t.messageCount} + ${listed}`,
        lastMessage: sql`case when ${listed} = 1 then cast(${$.preview} as text) else ${t.lastMessage} end`,
        lastSeq: sql`case when ${listed} = 1 then ${t.rev} + 1 else ${t.lastSeq} end`,
        title: sql`coalesce(${t.title}, cast(${$.title} as text))`,
        updatedAt: later(t.updatedAt, $.now),
      })
      .where(and(eq(t.id, $.conversationId), inScope(db, $), ne(t.status, "ended")))
      .returning({ rev: t.rev });
  },
);

/** A guard: the next revision of a session that has not ended, for a change to one of its messages. */
export const takeChangeRev = statement([...scopeSlots, "conversationId", "now"], (db, $) => {
  const t = db.tables.conversations;
  return db
    .update(t)
    .set({ rev: sql`${t.rev} + 1`, updatedAt: later(t.updatedAt, $.now) })
    .where(and(eq(t.id, $.conversationId), inScope(db, $), ne(t.status, "ended")))
    .returning({ rev: t.rev });
});

export const insertMessage = statement(
  ["conversationId", "id", "role", "senderId", "content", "metadata", "now"],
  (db, $) => {
    const { conversations: c, messages: m } = db.tables;
    const rev = sql<number>`(select ${c.rev} from ${c} where ${c.id} = ${$.conversationId})`;
    return db
      .insert(m)
      .values({
        id: $.id,
        conversationId: $.conversationId,
        seq: rev,
        rev,
        role: $.role,
        senderId: $.senderId,
        content: $.content,
        status: "completed",
        metadata: $.metadata,
        createdAt: $.now,
      })
      .returning();
  },
);

/** A guard: another text for the message as it was looked at. */
export const editMessageRow = statement(["conversationId", "id", "before", "content", "now"], (db, $) => {
  const { conversations: c, messages: m } = db.tables;
  return db
    .update(m)
    .set({
      content: $.content,
      editedAt: $.now,
      rev: sql`(select ${c.rev} from ${c} where ${c.id} = ${$.conversationId})`,
    })
    .where(
      and(
        eq(m.id, $.id),
        eq(m.conversationId, $.conversationId),
        eq(m.rev, $.before),
        sql`${m.status} <> 'in_progress' and ${m.deletedAt} is null`,
      ),
    )
    .returning();
});

/** A guard: a message is deleted once, and not while it is being made or answered. */
export const deleteMessageRow = statement(["conversationId", "id", "now"], (db, $) => {
  const { conversations: c, messages: m } = db.tables;
  const answering = sql`select 1 from turns where conversation_id = ${$.conversationId} and user_message_id = ${$.id} and status in ('queued', 'in_progress')`;
  return db
    .update(m)
    .set({ deletedAt: $.now, rev: sql`(select ${c.rev} from ${c} where ${c.id} = ${$.conversationId})` })
    .where(
      and(
        eq(m.id, $.id),
        eq(m.conversationId, $.conversationId),
        sql`${m.status} <> 'in_progress' and ${m.deletedAt} is null and not exists (${answering})`,
      ),
    )
    .returning({ id: m.id });
});

/** Text in a template of SQL goes into the bundle as it is, and one letter beyond ASCII doubles what Node holds of it. */
const CUT = sql.raw("'…'");

/** 1 for a message that lists show, else 0. */
const ifListed = ($: { id: never }) =>
  sql`(select cast(count(*) as integer) from messages m where m.id = ${$.id} and ${listedAs("m")})`;

/** Takes a message out of its conversation's count before it is edited or deleted: `resettle` counts it again. */
export const uncount = statement(["conversationId", "id"], (db, $) => {
  const { conversations: c } = db.tables;
  return db
    .update(c)
    .set({ messageCount: sql`${c.messageCount} - ${ifListed($)}` })
    .where(eq(c.id, $.conversationId));
});

/** What lists show of a conversation one of whose messages was edited or deleted: their number, and the newest. */
export const resettle = statement(["conversationId", "id"], (db, $) => {
  const { conversations: c } = db.tables;
  const newest = sql`from messages m where m.conversation_id = ${$.conversationId} and ${listedAs("m")} order by m.seq desc limit 1`;
  return db
    .update(c)
    .set({
      messageCount: sql`${c.messageCount} + ${ifListed($)}`,
      lastSeq: sql`coalesce((select m.seq ${newest}), 0)`,
      lastMessage: sql`(select case when length(m.content) > 200 then substr(m.content, 1, 199) || ${CUT} else m.content end ${newest})`,
    })
    .where(eq(c.id, $.conversationId));
});

/** Takes the title off again that was made from a message. */
export const forgetTitle = statement(["conversationId", "title"], (db, $) => {
  const { conversations: c } = db.tables;
  return db
    .update(c)
    .set({ title: null })
    .where(and(eq(c.id, $.conversationId), eq(c.title, $.title)));
});
