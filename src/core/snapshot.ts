import { z } from "zod";
import { PART_BYTES } from "../db/parts.ts";
import { keepAt, keptAt } from "./cache.ts";
import type { Actor } from "./identity.ts";
import type { TurnDeps } from "./live.ts";
import { getSession, type Session } from "./sessions.ts";
import type { Post } from "./thread.ts";
import { findNewestPosts, readPosts } from "./thread-parts.ts";

/** Messages of a snapshot. */
const MOST = 100;

const object = z.record(z.string(), z.unknown());

const schema: z.ZodType<Post[]> = z.array(
  z.object({
    id: z.string(),
    conversationId: z.string(),
    turnId: z.string().nullable(),
    seq: z.int(),
    rev: z.int(),
    role: z.enum(["user", "assistant", "agent", "system"]),
    senderId: z.string().nullable(),
    content: z.string(),
    status: z.enum(["in_progress", "completed", "incomplete", "failed"]),
    model: z.string().nullable(),
    metadata: object.nullable(),
    createdAt: z.int(),
    editedAt: z.int().nullable(),
    deletedAt: z.int().nullable(),
    erasedAt: z.int().nullable(),
    supersededAt: z.int().nullable(),
    size: z.int(),
    extensions: z.array(
      z.object({
        id: z.string(),
        messageId: z.string(),
        type: z.string(),
        authorId: z.string().nullable(),
        data: object,
        createdAt: z.int(),
      }),
    ),
  }),
);

/**
 * A session and its newest messages, oldest first. Whether the actor may see it, and which revision is the last, is said
 * by its row alone, which is always read: only messages that were kept at that revision need not be. Throws 404 as
 * `getSession` does.
 */
export async function readSnapshot(
  { db, cache }: Pick<TurnDeps, "db" | "cache">,
  actor: Actor,
  id: string,
): Promise<{ session: Session; parts: AsyncIterable<readonly Post[]> }> {
  const find = () => findNewestPosts(db, actor, { conversationId: id, limit: MOST });
  if (!cache) {
    const [session, { span }] = await Promise.all([getSession(db, actor, id), find()]);
    return { session, parts: readPosts(db, actor, span) };
  }
  const key = `posts:${id}`;
  const [session, text] = await Promise.all([getSession(db, actor, id), cache.get(key)]);
  const { rev } = session;
  const kept = keptAt(text, rev, schema);
  if (kept) return { session, parts: only(kept) };
  const { span, size } = await find();
  const parts = readPosts(db, actor, span);
  if (size > PART_BYTES) return { session, parts };
  // Read after the row, so they are at least as new as its revision: never older than what they are kept as.
  const posts: Post[] = [];
  for await (const part of parts) posts.push(...part);
  const isGrowing = posts.some(({ status }) => status === "in_progress"); // its text takes no revisions
  if (!isGrowing) keepAt(cache, key, { rev, value: posts });
  return { session, parts: only(posts) };
}

async function* only(posts: readonly Post[]): AsyncGenerator<readonly Post[]> {
  yield posts;
}
