import { createHash } from "node:crypto";
import { z } from "zod";
import type { Stoppable, StreamChat } from "./client.ts";

export type StreamUser = { id: string; name?: string; role?: string; [custom: string]: unknown };

/** Makes users, or changes what is said of them; a hundred at most. */
export async function upsertUsers(stream: StreamChat, users: readonly StreamUser[], { signal }: Stoppable = {}) {
  const body = { users: Object.fromEntries(users.map((user) => [user.id, user])) };
  await stream.call({ kind: "UpdateUsers", method: "POST", path: "/users", body, signal }, z.unknown());
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
  if (LAWFUL.test(userId) && !userId.startsWith(ENCODED) && !userId.startsWith(HASHED)) return userId;
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
