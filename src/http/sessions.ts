import { z } from "@hono/zod-openapi";
import type { Actor } from "../core/identity.ts";
import { MOST_METADATA, type Session } from "../core/sessions.ts";
import type { Post } from "../core/thread.ts";
import type { Conversation, Extension } from "../db/tables.ts";
import { callerId, id, time } from "./schemas.ts";
import { timeOf } from "./time.ts";

/** What the surface of live sessions says of them, in answers and in events. */

/** Metadata and extensions hold so much, in bytes of JSON. */
export const MOST_JSON = MOST_METADATA;
export const MOST_LEVELS = 8;

const json = z.record(z.string(), z.unknown()).openapi({ type: "object", additionalProperties: true });

export const SessionState = z
  .object({
    id,
    user_id: callerId,
    agent_id: z.string().nullable(),
    status: z.enum(["active", "ended", "transferred"]),
    control: z.enum(["assistant", "queue", "agent"]).openapi({ description: "Who answers." }),
    title: z.string().nullable(),
    metadata: json,
    rev: z.int().openapi({ description: "Counts the changes to the session and its messages." }),
    message_count: z.int(),
    previous_session_id: id.nullable(),
    is_live: z.boolean(),
    created_at: time,
    updated_at: time,
    ended_at: time.nullable(),
    unread: z.int().optional().openapi({ description: "Messages of others since the reader's marker; not in events." }),
  })
  .openapi("SessionsSession");

export const SessionExtension = z
  .object({
    id,
    message_id: id,
    extension_type: z.string(),
    data: json,
    author_id: z.string().nullable(),
    created_at: time,
  })
  .openapi("SessionsExtension");

export const SessionMessage = z
  .object({
    id,
    session_id: id,
    content: z.string(),
    sender_type: z.enum(["user", "agent", "assistant", "system"]),
    sender_id: z.string(),
    status: z.enum(["in_progress", "completed", "incomplete", "failed"]),
    is_deleted: z.boolean(),
    is_superseded: z.boolean().openapi({ description: "Another answer stands in its place; lists leave it out." }),
    metadata: json,
    extensions: z.array(SessionExtension),
    seq: z.int().openapi({ description: "Its place in the thread, for ever." }),
    rev: z.int().openapi({ description: "The session's revision at its last change." }),
    turn_id: id.nullable(),
    model: z.string().nullable(),
    created_at: time,
    edited_at: time.nullable(),
  })
  .openapi("SessionsMessage");

/** Why a session may not move, or not be changed. */
export const moveProblems = ["not_found", "session_ended", "unlawful_move", "already_accepted"] as const;

const orNull = (ms: number | null) => (ms === null ? null : timeOf(ms));

export function toSession(row: Conversation | Session): z.infer<typeof SessionState> {
  return {
    id: row.id,
    user_id: row.userId,
    agent_id: row.agentId,
    status: row.status,
    control: row.control,
    title: row.title,
    metadata: row.metadata ?? {},
    rev: row.rev,
    message_count: row.messageCount,
    previous_session_id: row.previousId,
    is_live: row.isLive,
    created_at: timeOf(row.createdAt),
    updated_at: timeOf(row.updatedAt),
    ended_at: orNull(row.endedAt),
    ...("unread" in row && { unread: row.unread }),
  };
}

/** A deleted message is blank for everyone but an admin, and all that hangs on it. */
export function toMessage(post: Post, { sees }: Pick<Actor, "sees">): z.infer<typeof SessionMessage> {
  const isBlank = post.deletedAt !== null && sees !== "all";
  return {
    id: post.id,
    session_id: post.conversationId,
    content: isBlank ? "" : post.content,
    sender_type: post.role,
    sender_id: post.senderId ?? post.role,
    status: post.status,
    is_deleted: post.deletedAt !== null,
    is_superseded: post.supersededAt !== null,
    metadata: isBlank ? {} : (post.metadata ?? {}),
    extensions: isBlank ? [] : post.extensions.map(toExtension),
    seq: post.seq,
    rev: post.rev,
    turn_id: post.turnId,
    model: post.model,
    created_at: timeOf(post.createdAt),
    edited_at: orNull(post.editedAt),
  };
}

export function toExtension(row: Extension): z.infer<typeof SessionExtension> {
  return {
    id: row.id,
    message_id: row.messageId,
    extension_type: row.type,
    data: row.data,
    author_id: row.authorId,
    created_at: timeOf(row.createdAt),
  };
}
