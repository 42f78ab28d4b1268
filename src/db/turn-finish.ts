import { and, eq, isNull, ne, sql } from "drizzle-orm";
import { later, type Source, type Step, statement, step } from "./db.ts";
import { listedAs } from "./listed.ts";

/** The statements with which a process ends a turn, and only one that is still its own: no caller stands behind them. */

export const closeOnConversation = statement(
  ["conversationId", "listed", "alternatives", "seq", "preview", "now"],
  (db, $) => {
    const t = db.tables.conversations;
    const listed = sql`cast(${$.listed} as integer)`;
    // A question that was queued behind this answer comes after it, whichever is stored first.
    const isNewest = sql`${listed} = 1 and cast(${$.seq} as integer) > ${t.lastSeq}`;
    return db
      .update(t)
      .set({
        rev: sql`${t.rev} + 1 + cast(${$.alternatives} as integer)`,
        openTurns: sql`${t.openTurns} - 1`,
        messageCount: sql`${t.messageCount} + ${listed}`,
        lastMessage: sql`case when ${isNewest} then ${$.preview} else ${t.lastMessage} end`,
        lastSeq: sql`case when ${isNewest} then cast(${$.seq} as integer) else ${t.lastSeq} end`,
        updatedAt: sql`case when ${listed} = 1 then ${later(t.updatedAt, $.now)} else ${t.updatedAt} end`,
      })
      .where(eq(t.id, $.conversationId))
      .returning({ rev: t.rev, openTurns: t.openTurns });
  },
);

export const closeTurn = statement(
  ["turnId", "status", "target", "finishReason", "usage", "cost", "restarts", "attempts", "error", "context", "now"],
  (db, $) => {
    const t = db.tables.turns;
    return db
      .update(t)
      .set({
        status: $.status,
        target: $.target,
        finishReason: $.finishReason,
        usage: $.usage,
        cost: $.cost,
        restarts: $.restarts,
        attempts: $.attempts,
        error: $.error,
        context: $.context,
        leaseUntil: null,
        completedAt: $.now,
      })
      .where(and(eq(t.id, $.turnId), eq(t.status, "in_progress")))
      .returning({ id: t.id });
  },
);

export const writeAnswer = statement(["conversationId", "answerId", "content", "status", "target"], (db, $) => {
  const c = db.tables.conversations;
  const m = db.tables.messages;
  return db
    .update(m)
    .set({
      content: $.content,
      status: $.status,
      model: $.target,
      rev: sql`(select ${c.rev} from ${c} where ${c.id} = ${$.conversationId})`,
    })
    .where(eq(m.id, $.answerId));
});

// They take the revisions right below the one that the finish leaves.
export const insertAlternative = statement(
  ["conversationId", "turnId", "id", "below", "content", "target", "now"],
  (db, $) => {
    const c = db.tables.conversations;
    const rev = sql<number>`(select ${c.rev} - ${$.below} from ${c} where ${c.id} = ${$.conversationId})`;
    return db.insert(db.tables.messages).values({
      id: $.id,
      conversationId: $.conversationId,
      turnId: $.turnId,
      seq: rev,
      rev,
      role: "assistant",
      content: $.content,
      status: "completed",
      model: $.target,
      createdAt: $.now,
      supersededAt: $.now,
    });
  },
);

type OneAnswer = {
  conversationId: string;
  questionId: string;
  answerId: string;
  seq: number;
  status: string;
  preview: string | null;
  now: number;
};

const seqOf = (messageId: never) => sql`(select q.seq from messages q where q.id = ${messageId})`;

const answerSlots = ["conversationId", "questionId", "answerId", "now"] as const;

/** Answers to the question that stand in the thread: all come after it. */
function standing(db: Source, { conversationId, questionId }: { conversationId: never; questionId: never }) {
  const { messages: m, turns: t } = db.tables;
  return and(
    eq(m.conversationId, conversationId),
    sql`${m.seq} > ${seqOf(questionId)}`,
    eq(m.role, "assistant"),
    isNull(m.supersededAt),
    sql`exists (select 1 from ${t} where ${t.id} = ${m.turnId} and ${t.userMessageId} = ${questionId})`,
  );
}

const supersedeOthers = statement(answerSlots, (db, $) => {
  const { conversations: c, messages: m } = db.tables;
  return db
    .update(m)
    .set({ supersededAt: $.now, rev: sql`(select ${c.rev} from ${c} where ${c.id} = ${$.conversationId})` })
    .where(and(standing(db, $), ne(m.id, $.answerId)));
});

const supersedeItself = statement(answerSlots, (db, $) => {
  const { messages: m } = db.tables;
  return db
    .update(m)
    .set({ supersededAt: $.now })
    .where(
      and(
        eq(m.id, $.answerId),
        sql`exists (
          select 1 from messages other join turns asked on asked.id = other.turn_id
          where other.conversation_id = ${$.conversationId} and other.seq > ${seqOf($.questionId)}
          and asked.user_message_id = ${$.questionId} and other.id <> ${$.answerId} and other.role = 'assistant'
          and ${listedAs("other")})`,
      ),
    );
});

const recount = statement(["conversationId", "answerId", "seq", "preview", "now"], (db, $) => {
  const { conversations: c } = db.tables;
  // One that was cut off is the last message only where it stands after all.
  const isNewest = sql`cast(${$.seq} as integer) > ${c.lastSeq} and exists (
    select 1 from messages own where own.id = ${$.answerId} and own.size > 0 and own.superseded_at is null)`;
  const listed = sql`select count(*) from messages m where m.conversation_id = ${$.conversationId} and ${listedAs("m")}`;
  return db
    .update(c)
    .set({
      messageCount: sql`(${listed})`,
      lastMessage: sql`case when ${isNewest} then ${$.preview} else ${c.lastMessage} end`,
      lastSeq: sql`case when ${isNewest} then cast(${$.seq} as integer) else ${c.lastSeq} end`,
      updatedAt: sql`case when ${isNewest} then ${later(c.updatedAt, $.now)} else ${c.updatedAt} end`,
    })
    .where(eq(c.id, $.conversationId));
});

/**
 * Of several answers to one question one stands in the thread: a whole one takes the place of those before it, one that
 * was cut off gives way to them.
 */
export const settleSteps = (answer: OneAnswer): Step<unknown>[] => [
  step(answer.status === "completed" ? supersedeOthers : supersedeItself, answer),
  step(recount, answer),
];
