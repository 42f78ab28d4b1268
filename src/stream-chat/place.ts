import { and, eq, ne } from "drizzle-orm";
import { findPost, type Post } from "../core/thread.ts";
import { type Db, statement } from "../db/db.ts";
import { NOBODY } from "../db/scope.ts";
import type { Conversation, Message } from "../db/tables.ts";
import type { StreamEvent } from "./event.ts";
import { conversationIdOf, messageIdOf } from "./ids.ts";
import { partOf } from "./parts.ts";
import { actorIn } from "./people.ts";

/**
 * What an event is about, as it stands here. No caller stands behind these statements: Stream's signature does, and who of
 * the app's users may do what in a channel is Stream's to say.
 */

/** A message that is here already; `changedAt`: when the newest state of it was made that was taken over from Stream. */
export type KnownMessage = { message: Message; changedAt: number | null };

export type Place = {
  conversationId: string;
  messageId: string;
  conversation: Conversation | null;
  known: KnownMessage | null;
  /** Why nothing more comes of it: the conversation was deleted here, or the message's id is that of another's. */
  refusal: "conversation_deleted" | "id_taken" | null;
};

const selectConversation = statement(["conversationId"], (db, $) => {
  const c = db.tables.conversations;
  return db
    .select()
    .from(c)
    .where(and(eq(c.id, $.conversationId), ne(c.userId, NOBODY)));
});

const selectTombstone = statement(["conversationId"], (db, $) => {
  const t = db.tables.tombstones;
  return db.select({ id: t.id }).from(t).where(eq(t.id, $.conversationId));
});

const selectKnown = statement(["messageId"], (db, $) => {
  const { messages: m, streamMessages: s } = db.tables;
  return db
    .select({ message: m, changedAt: s.changedAt })
    .from(m)
    .leftJoin(s, eq(s.id, m.id))
    .where(eq(m.id, $.messageId));
});

/** A message by its id here. */
const findKnown = async (db: Db, messageId: string): Promise<KnownMessage | null> =>
  (await db.all(selectKnown, { messageId }))[0] ?? null;

/** What a channel and a message of Stream's are here. */
export async function findPlace(db: Db, channelId: string, streamId: string): Promise<Place> {
  const ids = { conversationId: conversationIdOf(channelId), messageId: messageIdOf(streamId) };
  const [[conversation], [tombstone], known] = await Promise.all([
    db.all(selectConversation, ids),
    db.all(selectTombstone, ids),
    findKnown(db, ids.messageId),
  ]);
  const isDeleted = !conversation && tombstone !== undefined;
  const isTaken = known !== null && known.message.conversationId !== ids.conversationId;
  const refusal = isDeleted ? "conversation_deleted" : isTaken ? "id_taken" : null;
  return { ...ids, conversation: conversation ?? null, known, refusal };
}

/** The message of which one that is not here is a later part, by its id and mark; both may be somebody else's. */
export async function wholeOf(db: Db, { conversation }: Place, { message }: StreamEvent): Promise<Post | null> {
  const whole = partOf(message.id);
  if (whole === null || !conversation || !message.parley) return null;
  const known = await findKnown(db, whole);
  if (known?.message.conversationId !== conversation.id) return null;
  return findPost(db, actorIn(conversation, conversation.userId), whole);
}
