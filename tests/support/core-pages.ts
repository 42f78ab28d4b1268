import type { Actor } from "../../src/core/identity.ts";
import { findMessages, type ListedMessage, readMessages } from "../../src/core/messages.ts";
import type { Post } from "../../src/core/thread.ts";
import { findPosts, readPosts } from "../../src/core/thread-parts.ts";
import type { Db } from "../../src/db/db.ts";

type Page = { conversationId: string; limit: number; before?: number | undefined };

/** The newest messages that lists show, oldest first, all read at once. */
export async function listMessages(
  db: Db,
  actor: Actor,
  page: Page,
): Promise<{ rows: ListedMessage[]; next: number | null }> {
  const { span, next } = await findMessages(db, actor, page);
  return { rows: await allOf(readMessages(db, actor, span)), next };
}

/** A session's messages from its beginning, all read at once. */
export async function listPosts(
  db: Db,
  actor: Actor,
  page: { conversationId: string; limit: number },
): Promise<Post[]> {
  return allOf(readPosts(db, actor, (await findPosts(db, actor, page)).span));
}

async function allOf<T>(parts: AsyncIterable<readonly T[]>): Promise<T[]> {
  const all: T[] = [];
  for await (const part of parts) all.push(...part);
  return all;
}
