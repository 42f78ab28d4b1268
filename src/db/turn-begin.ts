import { and, eq, isNull, ne, sql } from "drizzle-orm";
import { later, statement } from "./db.ts";
import { inScope, scopeSlots } from "./scope.ts";

/** The statements with which a turn begins. The first takes the conversation's revisions, and its lock on Postgres. */

export const takeRevs = statement([...scopeSlots, "conversationId", "title", "preview", "room", "now"], (db, $) => {
  const t = db.tables.conversations;
  return db
    .update(t)
    .set({
      rev: sql`${t.rev} + 2`,
      openTurns: sql`${t.openTurns} + 1`,
      messageCount: sql`${t.messageCount} + 1`,
      lastMessage: $.preview,
      lastSeq: sql`${t.rev} + 1`,
      title: sql`coalesce(${t.title}, ${$.title})`,
      updatedAt: later(t.updatedAt, $.now),
    })
    .where(
      and(
        eq(t.id, $.conversationId),
        inScope(db, $),
        ne(t.status, "ended"),
        eq(t.control, "assistant"),
        sql`${t.openTurns} <= cast(${$.room} as integer)`,
      ),
    )
    .returning({ rev: t.rev, openTurns: t.openTurns, systemPrompt: t.systemPrompt });
});

/** The same for an answer alone. */
export const takeRev = statement([...scopeSlots, "conversationId", "room", "now"], (db, $) => {
  const t = db.tables.conversations;
  return db
    .update(t)
    .set({ rev: sql`${t.rev} + 1`, openTurns: sql`${t.openTurns} + 1`, updatedAt: later(t.updatedAt, $.now) })
    .where(
      and(
        eq(t.id, $.conversationId),
        inScope(db, $),
        ne(t.status, "ended"),
        eq(t.control, "assistant"),
        sql`${t.openTurns} <= cast(${$.room} as integer)`,
      ),
    )
    .returning({ rev: t.rev, openTurns: t.openTurns, systemPrompt: t.systemPrompt });
});

export const createWithRevs = statement(
  ["userId", "conversationId", "clientId", "title", "preview", "now"],
  (db, $) => {
    const t = db.tables.conversations;
    return db
      .insert(t)
      .values({
        id: $.conversationId,
        userId: $.userId,
        clientId: $.clientId,
        title: $.title,
        lastMessage: $.preview,
        lastSeq: 1,
        rev: 2,
        openTurns: 1,
        messageCount: 1,
        createdAt: $.now,
        updatedAt: $.now,
        ...db.born,
      })
      .returning({ rev: t.rev, openTurns: t.openTurns, systemPrompt: t.systemPrompt });
  },
);

export const insertPair = statement(
  ["conversationId", "turnId", "questionId", "answerId", "senderId", "content", "metadata", "now"],
  (db, $) => {
    const c = db.tables.conversations;
    const rev = sql<number>`(select ${c.rev} from ${c} where ${c.id} = ${$.conversationId})`;
    const shared = { conversationId: $.conversationId, turnId: $.turnId, createdAt: $.now };
    return db.insert(db.tables.messages).values([
      {
        ...shared,
        id: $.questionId,
        seq: sql`${rev} - 1`,
        rev: sql`${rev} - 1`,
        role: "user",
        senderId: $.senderId,
        content: $.content,
        status: "completed",
        metadata: $.metadata,
      },
      {
        ...shared,
        id: $.answerId,
        seq: rev,
        rev,
        role: "assistant",
        senderId: null,
        content: "",
        status: "in_progress",
        metadata: null,
      },
    ]);
  },
);

/** The answer of a turn whose question is stored already. */
export const insertAnswer = statement(["conversationId", "turnId", "answerId", "now"], (db, $) => {
  const c = db.tables.conversations;
  const rev = sql<number>`(select ${c.rev} from ${c} where ${c.id} = ${$.conversationId})`;
  return db.insert(db.tables.messages).values({
    id: $.answerId,
    conversationId: $.conversationId,
    turnId: $.turnId,
    createdAt: $.now,
    seq: rev,
    rev,
    role: "assistant",
    senderId: null,
    content: "",
    status: "in_progress",
  });
});

export const insertTurn = statement(
  ["conversationId", "turnId", "questionId", "answerId", "model", "options", "requestId", "now", "leaseMs"],
  (db, $) => {
    const c = db.tables.conversations;
    const of = sql`from ${c} where ${c.id} = ${$.conversationId}`;
    return db.insert(db.tables.turns).values({
      id: $.turnId,
      conversationId: $.conversationId,
      userId: sql`(select ${c.userId} ${of})`,
      userMessageId: $.questionId,
      messageId: $.answerId,
      status: sql`(select case when ${c.openTurns} > 1 then 'queued' else 'in_progress' end ${of})`,
      model: $.model,
      options: $.options,
      requestId: $.requestId,
      leaseUntil: sql`${db.now} + ${$.leaseMs}`,
      createdAt: $.now,
    });
  },
);

/** A guard: the question that is to be answered again was not deleted. */
export const questionStands = statement(["conversationId", "questionId"], (db, $) => {
  const m = db.tables.messages;
  return db
    .select({ id: m.id })
    .from(m)
    .where(and(eq(m.id, $.questionId), eq(m.conversationId, $.conversationId), isNull(m.deletedAt)));
});

/** A guard: the answer stands in the thread, and nothing that lists show comes after it. */
export const isNewest = statement(["conversationId", "newest"], (db, $) => {
  const m = db.tables.messages;
  return db
    .select({ id: m.id })
    .from(m)
    .where(
      and(
        eq(m.id, $.newest),
        eq(m.conversationId, $.conversationId),
        eq(m.role, "assistant"),
        ne(m.status, "in_progress"),
        isNull(m.supersededAt),
        isNull(m.deletedAt),
        sql`not exists (
          select 1 from messages later where later.conversation_id = ${$.conversationId} and later.seq > ${m.seq}
          and later.superseded_at is null and later.deleted_at is null and later.role <> 'system'
          and (later.status = 'in_progress' or (later.status <> 'failed' and later.size > 0)))`,
      ),
    );
});
