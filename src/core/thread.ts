import { and, asc, eq } from "drizzle-orm";
import { type Db, statement } from "../db/db.ts";
import { ahead, isRead } from "../db/extension-room.ts";
import { inScope, scopeSlots } from "../db/scope.ts";
import type { Extension, Message } from "../db/tables.ts";
import { notFound } from "./errors.ts";
import type { Actor } from "./identity.ts";

/** One message of a session as its people see it: a note, an answer in the making or a failed one too. */

/** A message with what hangs on it: attachments, reactions, earlier texts and whatever else, oldest first. */
export type Post = Message & { extensions: Extension[] };

const selectPost = statement([...scopeSlots, "id"], (db, $) => {
  const { messages: m, conversations: c } = db.tables;
  return db
    .select({ message: m })
    .from(m)
    .innerJoin(c, eq(c.id, m.conversationId))
    .where(and(eq(m.id, $.id), inScope(db, $)));
});

/** Whether there is such a message among the actor's, deleted or not. */
export const isStored = async (db: Db, actor: Actor, id: string): Promise<boolean> =>
  (await db.all(selectPost, { ...actor, id })).length > 0;

/** A message, deleted or not. Throws 404 where it is unknown or not the actor's to see. */
export async function findPost(db: Db, actor: Actor, id: string): Promise<Post> {
  const message = await findMessage(db, actor, id);
  const hanging = await db.all(selectExtensions, { ...actor, messageId: id });
  return { ...message, extensions: hanging.map(({ extension }) => extension) };
}

async function findMessage(db: Db, actor: Actor, id: string): Promise<Message> {
  const [row] = await db.all(selectPost, { ...actor, id });
  if (!row) throw notFound("message");
  return row.message;
}

/** Throws 404 as `findPost` does, and where it is deleted and the actor no admin. */
export async function getPost(db: Db, actor: Actor, id: string): Promise<Post> {
  const post = await findPost(db, actor, id);
  if (post.deletedAt !== null && actor.sees !== "all") throw notFound("message");
  return post;
}

/** A message that can be changed. Throws 404 as `findPost` does, and where it is deleted. */
export async function getLivingPost(db: Db, actor: Actor, id: string): Promise<Post> {
  const post = await findPost(db, actor, id);
  if (post.deletedAt !== null) throw notFound("message");
  return post;
}

/** The same without what hangs on it. */
export async function getLivingMessage(db: Db, actor: Actor, id: string): Promise<Message> {
  const message = await findMessage(db, actor, id);
  if (message.deletedAt !== null) throw notFound("message");
  return message;
}

const selectExtensions = statement([...scopeSlots, "messageId"], (db, $) => {
  const { messageExtensions: e, messages: m, conversations: c } = db.tables;
  const found = db
    .select(ahead(db))
    .from(e)
    .innerJoin(m, eq(m.id, e.messageId))
    .innerJoin(c, eq(c.id, m.conversationId))
    .where(and(eq(e.messageId, $.messageId), inScope(db, $)))
    .as("found_on");
  return db
    .select({ extension: e })
    .from(found)
    .innerJoin(e, eq(e.id, found.id))
    .where(isRead(found))
    .orderBy(asc(e.createdAt), asc(e.id));
});
