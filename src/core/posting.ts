import { Conflict, guard, isConflict, type Step, step } from "../db/db.ts";
import { insertExtension } from "../db/extension-writes.ts";
import { keySteps } from "../db/keys.ts";
import { insertMessage, takeMessageRev } from "../db/session-writes.ts";
import type { Extension, Message, Metadata } from "../db/tables.ts";
import { getConversation } from "./conversations.ts";
import { AppError } from "./errors.ts";
import { type Given, newId } from "./id.ts";
import type { Actor } from "./identity.ts";
import { earlierMade, type RequestKey, takenKey } from "./keys.ts";
import type { TurnDeps } from "./live.ts";
import { previewOf, titleFrom } from "./text.ts";
import { findPost, getPost, isStored, type Post } from "./thread.ts";

/** What people say in a session. */

/**
 * What a message holds at most of one author, and of all: extensions, and beside them earlier texts. So nobody fills the room
 * that another needs, to edit least of all.
 */
export const MOST_EXTENSIONS = { mostOwn: 100, mostOfAll: 1_000 } as const;

export type NewExtension = { type: string; data: Metadata };

export type NewPost = Given & {
  conversationId: string;
  content: string;
  role: Message["role"];
  senderId: string;
  metadata: Metadata | null;
  extensions: readonly NewExtension[];
  key: RequestKey | null;
};

export type PostDeps = Pick<TurnDeps, "db" | "clock">;
type Db = TurnDeps["db"];

/**
 * Stores a message that no model is asked about. A key that was used before gives its message again, as it stands now,
 * also where it is deleted. Throws 404 where the session is not the actor's, 409 where it has ended, 422 where the key was
 * another request's, and `Conflict` where a given id is taken.
 */
export async function post({ db, clock }: PostDeps, actor: Actor, said: NewPost): Promise<Post> {
  const { conversationId, content, role, key, id = newId(), also = [] } = said;
  const now = clock();
  const taken = key && takenKey(actor, key, now, { id, at: now });
  const listed = role === "system" ? 0 : 1;
  const title = role === "user" ? titleFrom(content) : null;
  return untilDone(async () => {
    const rows = await tried(db, [
      guard(takeMessageRev, { ...actor, conversationId, listed, title, preview: previewOf(content), now }),
      step(insertMessage, { ...said, id, now }),
      ...extensionSteps(withIds(said.extensions, { messageId: id, authorId: actor.self, now })),
      ...keySteps(taken, { turnId: null, now }),
      ...also,
    ]);
    if (rows) return getPost(db, actor, id);
    const earlier = key && (await earlierMade(db, actor, { key, now }));
    if (earlier) return findPost(db, actor, earlier.id);
    await refuseIfEnded(db, actor, conversationId);
    if (said.id !== undefined) await refuseIfStored(db, actor, said.id);
    return undefined;
  });
}

/** Throws `Conflict`. */
export async function refuseIfStored(db: Db, actor: Actor, id: string): Promise<void> {
  if (await isStored(db, actor, id)) throw Conflict();
}

/** An extension as it is about to be stored. */
export type Hung = {
  id: string;
  messageId: string;
  type: string;
  authorId: string;
  data: Metadata;
  createdAt: number;
};

type Said = { messageId: string; authorId: string; now: number };

/** Extensions of one author in their order, which their ids keep. */
export function withIds(extensions: readonly NewExtension[], { messageId, authorId, now }: Said): Hung[] {
  const ids = extensions.map(newId).sort();
  return extensions.map(({ type, data }, i) => ({
    id: ids[i] ?? newId(),
    messageId,
    type,
    authorId,
    data,
    createdAt: now,
  }));
}

export const extensionSteps = (hung: readonly Hung[]): Step<unknown>[] =>
  hung.map((one) => step(insertExtension, { ...one, now: one.createdAt }));

/** Throws 404 where the conversation is not the actor's to see, 409 where it has ended. */
export async function refuseIfEnded(db: Db, actor: Actor, conversationId: string): Promise<void> {
  const { status } = await getConversation(db, actor, conversationId);
  if (status === "ended") throw new AppError("session_ended", "The session has ended; it takes no more changes.");
}

const TRIES = 50;

/** Tries until nobody was faster: then the attempt gives something. */
export async function untilDone<R>(attempt: () => Promise<R | undefined>): Promise<R> {
  for (let i = 0; i < TRIES; i++) {
    const done = await attempt();
    if (done !== undefined) return done;
  }
  throw new AppError("conversation_busy", "Others are changing this all the time; try again.");
}

/** The rows of a batch; undefined where a guard had none, or a key was taken. */
export async function tried(db: Db, steps: readonly Step<unknown>[]): Promise<unknown[][] | undefined> {
  return db.batch(steps).catch((error) => {
    if (!isConflict(error)) throw error;
    return undefined;
  });
}

/** Throws 422 where a message has no room for one more of its author's. */
export function refuseIfFull({ extensions }: Post, { type, authorId }: Pick<Extension, "type" | "authorId">): void {
  const isText = (one: Pick<Extension, "type">) => one.type === "edit_history";
  const what = isText({ type }) ? "earlier texts" : "extensions";
  const all = extensions.filter((one) => isText(one) === isText({ type }));
  const { mostOwn, mostOfAll } = MOST_EXTENSIONS;
  if (all.length >= mostOfAll) throw full(`A message holds ${mostOfAll} ${what} at most.`);
  const own = all.filter((one) => one.authorId === authorId);
  if (own.length >= mostOwn) throw full(`A message holds ${mostOwn} ${what} of one author at most.`);
}

const full = (detail: string) => new AppError("validation_failed", detail, { errors: [{ path: "", message: detail }] });
