import { and, eq, ne, type SQL, sql } from "drizzle-orm";
import { type Db, guard, type Source, statement, step } from "./db.ts";
import type { Attempt, ContextReport, TurnError, Usage } from "./tables.ts";

/** Whose rows a statement may touch. It stands in the WHERE of every one that is made for a caller. */
export type Scope = {
  /** The caller's own user id. */
  readonly self: string;
  /** `own`: the caller's conversations; `live`: these and every live one; `all`: everybody's. */
  readonly sees: "own" | "live" | "all";
  /** A user that was named: nobody else's rows, whatever the caller may see. */
  readonly owner: string | null;
};

/** Turns that may wait behind the running one. */
export const QUEUE_LIMIT = 16;

export type BeginTurn = Scope & {
  conversationId: string;
  turnId: string;
  questionId: string;
  answerId: string;
  /** Whose a new conversation becomes. */
  userId: string;
  senderId: string;
  content: string;
  title: string;
  preview: string;
  model: string;
  now: number;
  leaseMs: number;
};

export type BegunTurn = { seq: number; status: "in_progress" | "queued"; systemPrompt: string | null };

export type FinishTurn = {
  conversationId: string;
  turnId: string;
  answerId: string;
  seq: number;
  status: "completed" | "incomplete" | "failed";
  content: string;
  preview: string | null;
  target: string | null;
  finishReason: string | null;
  usage: Usage | null;
  attempts: Attempt[];
  error: TurnError | null;
  context: ContextReport | null;
  /** Other whole answers to the same question, stored in the same commit as superseded. */
  alternatives: readonly Alternative[];
  now: number;
};

export type Alternative = { id: string; content: string; target: string };

/** The two writes that every turn makes. Each dialect may spell them its own way, for speed. */
export type TurnWrites = {
  /**
   * Stores question, empty answer and turn in one commit, the turn `queued` if another is open. `create` makes the
   * conversation in the same commit. Throws `Conflict`, and stores nothing, unless the conversation is in scope, the
   * assistant is in control of it, it has not ended and its queue has room.
   */
  begin(input: BeginTurn, create: boolean): Promise<BegunTurn>;
  /**
   * Writes the answer and closes the turn in one commit; tells how many turns of the conversation are still open.
   * Throws `Conflict`, and changes nothing, if the turn is no longer in progress.
   */
  finish(input: FinishTurn): Promise<{ rev: number; openTurns: number }>;
};

/** The condition that a conversation is in scope; its slots are `self`, `sees` and `owner`. */
export function inScope(db: Source, slots: { self: never; sees: never; owner: never }): SQL {
  const t = db.tables.conversations;
  const owner = sql`cast(${slots.owner} as text)`;
  const sees = sql`cast(${slots.sees} as text)`;
  return sql`(${t.userId} = ${slots.self} or ${sees} = 'all' or (${sees} = 'live' and ${t.isLive})) and (${owner} is null or ${t.userId} = ${owner})`;
}

export const scopeSlots = ["self", "sees", "owner"] as const;

const takeRevs = statement([...scopeSlots, "conversationId", "title", "preview", "now"], (db, $) => {
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
      updatedAt: $.now,
    })
    .where(
      and(
        eq(t.id, $.conversationId),
        inScope(db, $),
        ne(t.status, "ended"),
        eq(t.control, "assistant"),
        sql`${t.openTurns} <= ${sql.raw(String(QUEUE_LIMIT))}`,
      ),
    )
    .returning({ rev: t.rev, openTurns: t.openTurns, systemPrompt: t.systemPrompt });
});

const createWithRevs = statement(["userId", "conversationId", "title", "preview", "now"], (db, $) => {
  const t = db.tables.conversations;
  return db
    .insert(t)
    .values({
      id: $.conversationId,
      userId: $.userId,
      title: $.title,
      lastMessage: $.preview,
      lastSeq: 1,
      rev: 2,
      openTurns: 1,
      messageCount: 1,
      createdAt: $.now,
      updatedAt: $.now,
    })
    .returning({ rev: t.rev, openTurns: t.openTurns, systemPrompt: t.systemPrompt });
});

const insertPair = statement(
  ["conversationId", "turnId", "questionId", "answerId", "senderId", "content", "now"],
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
      },
    ]);
  },
);

const insertTurn = statement(
  ["conversationId", "turnId", "questionId", "answerId", "model", "now", "leaseMs"],
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
      leaseUntil: sql`${db.now} + ${$.leaseMs}`,
      createdAt: $.now,
    });
  },
);

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
        updatedAt: sql`case when ${listed} = 1 then ${$.now} else ${t.updatedAt} end`,
      })
      .where(eq(t.id, $.conversationId))
      .returning({ rev: t.rev, openTurns: t.openTurns });
  },
);

const closeTurn = statement(
  ["turnId", "status", "target", "finishReason", "usage", "attempts", "error", "context", "now"],
  (db, $) => {
    const t = db.tables.turns;
    return db
      .update(t)
      .set({
        status: $.status,
        target: $.target,
        finishReason: $.finishReason,
        usage: $.usage,
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

const writeAnswer = statement(["conversationId", "answerId", "content", "status", "target"], (db, $) => {
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
const insertAlternative = statement(
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

/** The two writes as batches of prepared statements: right on both databases, and the fast form on SQLite. */
export function batchedTurnWrites(db: () => Db): TurnWrites {
  return {
    async begin(input, create) {
      const [[taken]] = await db().batch([
        create ? guard(createWithRevs, input) : guard(takeRevs, input),
        step(insertPair, input),
        step(insertTurn, input),
      ]);
      if (!taken) throw new Error("a guard passed without a row");
      return begun(taken);
    },
    async finish(input) {
      const { alternatives } = input;
      const listed = input.content === "" ? 0 : 1;
      const [[closed]] = await db().batch([
        guard(closeOnConversation, { ...input, listed, alternatives: alternatives.length }),
        guard(closeTurn, input),
        step(writeAnswer, input),
        ...alternatives.map((one, i) => step(insertAlternative, { ...input, ...one, below: i + 1 })),
      ]);
      if (!closed) throw new Error("a guard passed without a row");
      return closed;
    },
  };
}

/** How a turn stands, from its conversation's row as `begin` left it. */
export function begun(row: { rev: number; openTurns: number; systemPrompt: string | null }): BegunTurn {
  return { seq: row.rev, status: row.openTurns > 1 ? "queued" : "in_progress", systemPrompt: row.systemPrompt };
}
