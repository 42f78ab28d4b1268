import { guard, isConflict, type Step, step } from "../db/db.ts";
import { keySteps } from "../db/keys.ts";
import {
  deleteMessageRow,
  editMessageRow,
  forgetTitle,
  hasRoom,
  insertExtension,
  insertMessage,
  resettle,
  takeChangeRev,
  takeMessageRev,
} from "../db/session-writes.ts";
import type { Message, Metadata } from "../db/tables.ts";
import { AppError, notFound } from "./errors.ts";
import { newId } from "./id.ts";
import type { Actor } from "./identity.ts";
import { earlierResponse, type RequestKey, takenKey } from "./keys.ts";
import type { TurnDeps } from "./live.ts";
import { getSession } from "./sessions.ts";
import { previewOf, titleFrom } from "./text.ts";
import { getPost, type Post } from "./thread.ts";

/** What people say in a session, change and take back. */

/** Extensions of a message at most, its earlier texts among them. */
export const MOST_EXTENSIONS = 100;

export type NewExtension = { type: string; data: Metadata };

export type NewPost = {
  conversationId: string;
  content: string;
  role: Message["role"];
  senderId: string;
  metadata: Metadata | null;
  extensions: readonly NewExtension[];
  key: RequestKey | null;
};

type Deps = Pick<TurnDeps, "db" | "clock">;

/**
 * Stores a message that no model is asked about. A key that was used before gives its message again, as it stands now.
 * Throws 404 where the session is not the actor's, 409 where it has ended, 422 where the key was another request's.
 */
export async function post({ db, clock }: Deps, actor: Actor, said: NewPost): Promise<Post> {
  const { conversationId, content, role, key } = said;
  const now = clock();
  const id = newId();
  const taken = key && takenKey(actor, key, now, { message_id: id });
  const listed = role === "system" ? 0 : 1;
  const title = role === "user" ? titleFrom(content) : null;
  try {
    await db.batch([
      guard(takeMessageRev, { ...actor, conversationId, listed, title, preview: previewOf(content), now }),
      step(insertMessage, { ...said, id, now }),
      ...extensionSteps(id, { authorId: actor.self, extensions: said.extensions, now }),
      ...keySteps(taken, { turnId: null, now }),
    ]);
  } catch (error) {
    if (!isConflict(error)) throw error;
    const earlier = key && (await earlierResponse(db, actor, { key, now }));
    if (earlier) return getPost(db, actor, String(earlier["message_id"]));
    throw await refusal(db, actor, conversationId);
  }
  return getPost(db, actor, id);
}

type Said = { authorId: string; extensions: readonly NewExtension[]; now: number };

export const extensionSteps = (messageId: string, { authorId, extensions, now }: Said): Step<unknown>[] =>
  extensions.map(({ type, data }) => step(insertExtension, { id: newId(), messageId, type, authorId, data, now }));

/** Why a session took no change: it is not the actor's, or it has ended. */
async function refusal(db: Deps["db"], actor: Actor, conversationId: string): Promise<AppError> {
  const { status } = await getSession(db, actor, conversationId);
  if (status === "ended") return new AppError("session_ended", "The session has ended; it takes no more changes.");
  return new AppError("conversation_busy", "Somebody else was faster; look again.");
}

/** An agent's notes are its own as well; an answer is nobody's but an admin's. */
const isSender = (actor: Actor, { role, senderId }: Message): boolean =>
  senderId === actor.self && (actor.sees === "own" ? role === "user" : role !== "assistant");

async function ownPost(db: Deps["db"], actor: Actor, id: string): Promise<Post> {
  const message = await getPost(db, actor, id);
  if (message.deletedAt !== null) throw notFound("message");
  if (actor.sees !== "all" && !isSender(actor, message)) {
    throw new AppError("forbidden", "A message is changed by its sender or an admin.");
  }
  if (message.status === "in_progress") throw new AppError("conversation_busy", "The answer is still being made.");
  return message;
}

/**
 * Gives a message another text; the old one goes to its history. Throws 404 as `getPost` does, 403 where the actor is
 * neither its sender nor an admin, 409 where the session has ended or the answer is still being made.
 */
export async function editPost({ db, clock }: Deps, actor: Actor, { id, content }: { id: string; content: string }) {
  const before = await ownPost(db, actor, id);
  const { conversationId } = before;
  const now = clock();
  const data = { content: before.content, edited_at: new Date(now).toISOString() };
  const history = [{ type: "edit_history", data }];
  const steps = [
    guard(takeChangeRev, { ...actor, conversationId, now }),
    guard(hasRoom, { messageId: id, authorId: null, emoji: null, most: MOST_EXTENSIONS }),
    guard(editMessageRow, { conversationId, id, before: before.content, content, now }),
    ...extensionSteps(id, { authorId: actor.self, extensions: history, now }),
    step(resettle, { conversationId }),
  ];
  if (!(await done(db, steps))) throw await whyNot(db, actor, before);
  return getPost(db, actor, id);
}

/** Leaves a message out of everything but an admin's view. Throws as `editPost` does; 404 where it is deleted already. */
export async function deletePost({ db, clock }: Deps, actor: Actor, id: string): Promise<Post> {
  const before = await ownPost(db, actor, id);
  const { conversationId } = before;
  const now = clock();
  const steps = [
    guard(takeChangeRev, { ...actor, conversationId, now }),
    guard(deleteMessageRow, { conversationId, id, now }),
    step(resettle, { conversationId }),
    ...titlesFrom(before).map((title) => step(forgetTitle, { conversationId, title })),
  ];
  const rows = await done(db, steps);
  if (!rows) throw await whyNot(db, actor, before);
  const [deleted] = rows[1] as Message[];
  if (!deleted) throw notFound("message");
  return { ...before, ...deleted };
}

/** The titles that a conversation may have from a message: from what it says, and what it said before. */
function titlesFrom({ content, extensions }: Post): string[] {
  const history = extensions.filter(({ type }) => type === "edit_history");
  return [...new Set([content, ...history.map(({ data }) => String(data["content"]))].map(titleFrom))];
}

/** The rows of a batch; undefined where a guard had none. */
export async function done(db: Deps["db"], steps: readonly Step<unknown>[]): Promise<unknown[][] | undefined> {
  return db.batch(steps).catch((error) => {
    if (!isConflict(error)) throw error;
    return undefined;
  });
}

/** Why a change to a message was not made. */
export async function whyNot(db: Deps["db"], actor: Actor, { id, conversationId }: Post): Promise<AppError> {
  const { extensions } = await getPost(db, actor, id);
  if (extensions.length < MOST_EXTENSIONS) return refusal(db, actor, conversationId);
  const full = `A message holds ${MOST_EXTENSIONS} extensions at most, its earlier texts among them.`;
  return new AppError("validation_failed", full, { errors: [{ path: "", message: full }] });
}
