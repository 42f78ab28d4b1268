import { createHash } from "node:crypto";
import { z } from "zod";
import type { Stoppable, StreamChat } from "./client.ts";

export type StreamUser = { id: string; name?: string; role?: string; [custom: string]: unknown };

/** Makes users, or changes what is said of them; a hundred at most. */
export async function upsertUsers(stream: StreamChat, users: readonly StreamUser[], { signal }: Stoppable = {}) {
  const body = { users: Object.fromEntries(users.map((user) => [user.id, user])) };
  await stream.call({ kind: "UpdateUsers", method: "POST", path: "/users", body, signal }, z.unknown());
}

const listed = z.object({ users: z.array(z.object({ id: z.string() })) });

/** Which of these users there are; a hundred at most. https://getstream.io/chat/docs/node/query_users/ */
export async function findUsers(
  stream: StreamChat,
  ids: readonly string[],
  { signal }: Stoppable = {},
): Promise<string[]> {
  const payload = JSON.stringify({ filter_conditions: { id: { $in: ids } }, limit: ids.length });
  const asked = { kind: "QueryUsers", method: "GET", path: "/users", query: { payload }, signal } as const;
  const { users } = await stream.call(asked, listed);
  return users.map(({ id }) => id);
}

const LONGEST = 255;
const LAWFUL = new RegExp(`^[a-zA-Z0-9@_-]{1,${LONGEST}}$`);
const ENCODED = "utf8_";
const HASHED = "sha256_";

/**
 * A user's id at Stream, which takes fewer characters than Parley: letters, digits, `@`, `_` and `-`. No two users share
 * one. Most are as they are; others are written as base64url, the longest of these as a hash.
 */
export function streamUserId(userId: string): string {
  const isPlain = LAWFUL.test(userId) && !userId.startsWith(ENCODED) && !userId.startsWith(HASHED);
  return isPlain ? userId : encodedUserId(userId);
}

/** An id that is nobody's but this user's, for whom its own would not do. */
export function encodedUserId(userId: string): string {
  const encoded = ENCODED + Buffer.from(userId).toString("base64url");
  return encoded.length <= LONGEST ? encoded : HASHED + createHash("sha256").update(userId).digest("base64url");
}

/** Whose id this is at Stream; null where that cannot be told, since only its hash is known there. */
export function userIdOf(streamId: string): string | null {
  if (streamId.startsWith(HASHED)) return null;
  if (!streamId.startsWith(ENCODED)) return streamId;
  const userId = Buffer.from(streamId.slice(ENCODED.length), "base64url").toString();
  return userId !== "" && streamUserId(userId) === streamId ? userId : null;
}
