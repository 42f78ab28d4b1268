import { Conflict, guard, isConflict, type Step, step } from "../db/db.ts";
import { roomFor, selectTaken } from "../db/extension-room.ts";
import { insertExtension } from "../db/extension-writes.ts";
import { keySteps } from "../db/keys.ts";
import { insertMessage, takeMessageRev } from "../db/session-writes.ts";
import type { Extension, Message, Metadata } from "../db/tables.ts";
import { getConversation } from "./conversations.ts";
import { AppError, invalid } from "./errors.ts";
import { type Given, newId } from "./id.ts";
import type { Actor } from "./identity.ts";
import { earlierMade, type RequestKey, takenKey } from "./keys.ts";
import type { TurnDeps } from "./live.ts";
import { previewOf, titleFrom } from "./text.ts";
import { findPost, getPost, isStored, type Post } from "./thread.ts";

/** What people say in a session. */

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
  const extensions = firstExtensions(said.extensions, { messageId: id, authorId: actor.self, now });
  const listed = role === "system" ? 0 : 1;
  const title = role === "user" ? titleFrom(content) : null;
  return untilDone(async () => {
    const rows = await tried(db, [
      guard(takeMessageRev, { ...actor, conversationId, listed, title, preview: previewOf(content), now }),
      step(insertMessage, { ...said, id, now }),
      ...extensionSteps(extensions),
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

/** The extensions that a message has from its beginning. Throws 422 where they are more than a message holds of one author. */
export function firstExtensions(extensions: readonly NewExtension[], said: Said): Hung[] {
  const { bytesOwn } = roomFor("");
  if (bytesOf(extensions) > bytesOwn)
    throw invalid("extensions", `must have ${kib(bytesOwn)} of JSON at most, all together`);
  return withIds(extensions, said);
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

type NewOne = Pick<Hung, "messageId" | "authorId" | "type" | "data">;

/** What a message is asked for that is to hold one more, and when it got the last of its kind. Throws 422 where it has no room for it. */
export async function roomNeeded(db: Db, actor: Actor, { messageId, authorId, type, data }: NewOne) {
  const of = { messageId, authorId, type };
  const [taken] = await db.all(selectTaken, { ...actor, ...of });
  const room = { ...roomFor(type), bytes: bytesOf([{ data }]) };
  const what = type === "edit_history" ? "earlier texts" : "extensions";
  if (taken) {
    if (taken.rowsOfAll >= room.mostOfAll) throw full(`${room.mostOfAll} ${what}`);
    if (taken.rowsOwn >= room.mostOwn) throw full(`${room.mostOwn} ${what} of one author`);
    if (taken.bytesOfAll + room.bytes > room.bytesOfAll) throw full(`${kib(room.bytesOfAll)} of ${what}`);
    if (taken.bytesOwn + room.bytes > room.bytesOwn) throw full(`${kib(room.bytesOwn)} of ${what} of one author`);
  }
  return { room: { ...of, ...room }, newestAt: taken?.newestAt ?? 0 };
}

function full(most: string): AppError {
  const detail = `A message holds ${most} at most.`;
  return new AppError("validation_failed", detail, { errors: [{ path: "", message: detail }] });
}

const kib = (bytes: number) => `${bytes / 1024} KiB`;

const bytesOf = (extensions: readonly Pick<Extension, "data">[]): number =>
  extensions.reduce((sum, { data }) => sum + Buffer.byteLength(JSON.stringify(data)), 0);
