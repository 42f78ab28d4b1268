import { sql } from "drizzle-orm";
import type { Columns } from "./columns.ts";
import { LISTED } from "./listed.ts";
import { makeOutboxTables, makeStreamTables, NOBODY_TO_TELL } from "./outbox-tables.ts";

/** One call to one target: what came of it, its HTTP status if there was one, milliseconds to its first text and in all. */
export type Attempt = {
  target: string;
  outcome: string;
  status: number | null;
  ms: number;
  first_token_ms: number | null;
  usage: Usage | null;
};
/** Tokens; `estimated` when the provider sent none. */
export type Usage = { input_tokens: number; output_tokens: number; estimated: boolean };
/** What a request asked for, for its turn only. */
export type TurnOptions = { temperature?: number; maxTokens?: number; systemPrompt?: string };
export type TurnError = { code: string; detail: string };
/** What was shown of a conversation: messages sent, older ones left out, and the estimate of what was sent. */
export type ContextReport = { messages: number; omitted: number; estimated_tokens: number };
export type Metadata = Record<string, unknown>;

/** Every table, once, in whichever dialect's words it is given. */
export function makeTables(columns: Columns) {
  const { table, index, uniqueIndex, primaryKey, ...column } = columns;
  const { id, text, oneOf, count, amount, time, flag, json, sizeOf } = column;

  const conversations = table(
    "conversations",
    {
      id: id().primaryKey(),
      userId: text().notNull(),
      agentId: text(),
      /** The id that a client gave it, unique among its user's. */
      clientId: text(),
      title: text(),
      isLive: flag().notNull().default(false),
      status: oneOf(["active", "ended", "transferred"]).notNull().default("active"),
      control: oneOf(["assistant", "queue", "agent"]).notNull().default("assistant"),
      systemPrompt: text(),
      metadata: json<Metadata>(),
      rev: count().notNull().default(0),
      messageCount: count().notNull().default(0),
      // Both stand on the row that every change locks, so they are never read stale: the beginning of the newest listed
      // message with its seq, and the turns that are queued or in progress.
      lastMessage: text(),
      lastSeq: count().notNull().default(0),
      openTurns: count().notNull().default(0),
      createdAt: time().notNull(),
      updatedAt: time().notNull(),
      endedAt: time(),
      previousId: id(),
      /** Since when it waits for an agent. */
      queuedAt: time(),
      /** The revision up to which the webhook has been told; the highest there is while there is none to tell. */
      told: count().notNull().default(NOBODY_TO_TELL),
      /** The same of Stream Chat. */
      mirrored: count().notNull().default(NOBODY_TO_TELL),
    },
    (t) => [
      index("conversations_by_user").on(t.userId, t.updatedAt, t.id),
      uniqueIndex("conversations_by_client_id").on(t.userId, t.clientId).where(sql`client_id is not null`),
      index("conversations_waiting").on(t.queuedAt, t.id).where(sql`control = 'queue' and status <> 'ended'`),
      index("conversations_by_agent").on(t.agentId, t.updatedAt).where(sql`control = 'agent' and status <> 'ended'`),
      index("conversations_untold").on(t.id).where(sql`rev > told`),
      index("conversations_unmirrored").on(t.id).where(sql`rev > mirrored`),
    ],
  );

  const messages = table(
    "messages",
    {
      id: id().primaryKey(),
      conversationId: id()
        .notNull()
        .references(() => conversations.id, { onDelete: "cascade" }),
      turnId: id(),
      seq: count().notNull(),
      rev: count().notNull(),
      role: oneOf(["user", "assistant", "agent", "system"]).notNull(),
      senderId: text(),
      status: oneOf(["in_progress", "completed", "incomplete", "failed"]).notNull(),
      model: text(),
      createdAt: time().notNull(),
      editedAt: time(),
      deletedAt: time(),
      /** When the text of a deleted message was blanked for good. */
      erasedAt: time(),
      supersededAt: time(),
      size: sizeOf("content"),
      // Long values come last: SQLite then reads the columns before them without following a row's overflow pages.
      metadata: json<Metadata>(),
      content: text().notNull(),
    },
    (t) => [
      uniqueIndex("messages_in_order").on(t.conversationId, t.seq),
      index("messages_by_change").on(t.conversationId, t.rev),
      index("messages_listed").on(t.conversationId, t.seq, t.senderId).where(LISTED),
      index("messages_by_sender").on(t.senderId, t.id).where(sql`sender_id is not null`),
      index("messages_to_erase").on(t.deletedAt).where(sql`deleted_at is not null and erased_at is null`),
    ],
  );

  const messageExtensions = table(
    "message_extensions",
    {
      id: id().primaryKey(),
      messageId: id()
        .notNull()
        .references(() => messages.id, { onDelete: "cascade" }),
      type: text().notNull(),
      authorId: text(),
      data: json<Metadata>().notNull(),
      createdAt: time().notNull(),
    },
    (t) => [
      index("extensions_by_message").on(t.messageId),
      index("extensions_by_author").on(t.authorId, t.id).where(sql`author_id is not null`),
    ],
  );

  // The ledger: conversation_id is a plain column, so that a turn outlives its conversation.
  const turns = table(
    "turns",
    {
      id: id().primaryKey(),
      conversationId: id().notNull(),
      userId: text().notNull(),
      userMessageId: id().notNull(),
      messageId: id().notNull(),
      /** The `X-Request-Id` of the request that began it. */
      requestId: text(),
      status: oneOf(["queued", "in_progress", "completed", "incomplete", "failed"]).notNull(),
      model: text().notNull(),
      options: json<TurnOptions>(),
      target: text(),
      restarts: count().notNull().default(0),
      finishReason: text(),
      usage: json<Usage>(),
      cost: amount(),
      attempts: json<Attempt[]>(),
      error: json<TurnError>(),
      context: json<ContextReport>(),
      leaseUntil: time(),
      cancelRequestedAt: time(),
      createdAt: time().notNull(),
      completedAt: time(),
    },
    (t) => [
      uniqueIndex("turns_running").on(t.conversationId).where(sql`status = 'in_progress'`),
      index("turns_by_user").on(t.userId, t.createdAt),
      index("turns_open").on(t.conversationId).where(sql`status in ('queued', 'in_progress')`),
      index("turns_open_by_user").on(t.userId).where(sql`status in ('queued', 'in_progress')`),
    ],
  );

  const idempotencyKeys = table(
    "idempotency_keys",
    {
      userId: text().notNull(),
      key: text().notNull(),
      requestHash: text().notNull(),
      turnId: id(),
      response: json<Metadata>(),
      expiresAt: time().notNull(),
    },
    (t) => [primaryKey({ columns: [t.userId, t.key] }), index("idempotency_keys_by_expiry").on(t.expiresAt)],
  );

  // How far somebody has read: the seq of the last message.
  const readMarkers = table(
    "read_markers",
    {
      conversationId: id()
        .notNull()
        .references(() => conversations.id, { onDelete: "cascade" }),
      readerId: text().notNull(),
      seq: count().notNull(),
    },
    (t) => [
      primaryKey({ columns: [t.conversationId, t.readerId] }),
      index("read_markers_by_reader").on(t.readerId, t.conversationId),
    ],
  );

  // Users who were erased while their turns of the day still counted: the ledger names them until then.
  const erasures = table("erasures", { userId: text().primaryKey(), erasedAt: time().notNull() });

  const own = { conversations, messages, messageExtensions, turns, idempotencyKeys, readMarkers, erasures };
  return { ...own, ...makeOutboxTables(columns), ...makeStreamTables(columns, messages) };
}

export type Tables = ReturnType<typeof makeTables>;
export type Conversation = Tables["conversations"]["$inferSelect"];
export type Message = Tables["messages"]["$inferSelect"];
export type Extension = Tables["messageExtensions"]["$inferSelect"];
export type Turn = Tables["turns"]["$inferSelect"];
export type Tombstone = Tables["tombstones"]["$inferSelect"];
