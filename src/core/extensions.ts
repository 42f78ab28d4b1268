import { type Db, guard } from "../db/db.ts";
import { hasRoom } from "../db/extension-room.ts";
import { deleteExtensionRow, touchMessageRow } from "../db/extension-writes.ts";
import { keySteps } from "../db/keys.ts";
import { takeChangeRev } from "../db/session-writes.ts";
import type { Extension } from "../db/tables.ts";
import { AppError, notFound } from "./errors.ts";
import type { Actor } from "./identity.ts";
import { earlierMade, type Made, type RequestKey, takenKey } from "./keys.ts";
import {
  extensionSteps,
  type NewExtension,
  type PostDeps,
  refuseIfEnded,
  roomNeeded,
  tried,
  untilDone,
  withIds,
} from "./posting.ts";
import { getLivingPost, isStored, type Post } from "./thread.ts";

/** What hangs on a message: attachments, reactions and any other type. */

type Hanging<R> = {
  messageId: string;
  extension: NewExtension;
  key: RequestKey | null;
  /** When it was hung there, where that was elsewhere: milliseconds. */
  at?: number;
  /** What the request is answered with, also when the same key asks again. */
  respond(hung: Extension): R;
};

/**
 * Hangs something on a message. The same reaction of the same author is given again. Throws 404 as `getLivingPost` does, 403
 * for a history, 409 where the session has ended, 422 where it holds too many of the author or the key was another request's.
 */
export async function addExtension<R>(
  { db, clock }: PostDeps,
  actor: Actor,
  { messageId, extension, key, at, respond }: Hanging<R>,
): Promise<R> {
  refuseHistory(extension.type);
  const emoji = extension.type === "reaction" ? String(extension.data["emoji"]) : null;
  return untilDone(async () => {
    const now = clock();
    const earlier = key && (await earlierMade(db, actor, { key, now }));
    if (earlier) return respond(await hungBefore(db, actor, { ...earlier, messageId, extension }));
    const message = await getLivingPost(db, actor, messageId);
    const { conversationId } = message;
    await refuseIfEnded(db, actor, conversationId);
    const already = emoji === null ? undefined : reactionOf(message, actor, emoji);
    if (already) return respond(already);
    const { room } = await roomNeeded(db, actor, { ...extension, messageId, authorId: actor.self });
    const [hung] = withIds([extension], { messageId, authorId: actor.self, now: at ?? now });
    if (!hung) return undefined;
    const rows = await tried(db, [
      guard(takeChangeRev, { ...actor, conversationId, now }),
      guard(touchMessageRow, { conversationId, id: messageId }),
      guard(hasRoom, { ...room, emoji }),
      ...extensionSteps([hung]),
      ...keySteps(key && takenKey(actor, key, now, { id: hung.id, at: hung.createdAt }), { turnId: null, now }),
    ]);
    return rows && respond(hung);
  });
}

type Before = Made & { messageId: string; extension: NewExtension };

/** What a key hung on a message, as it was then. Throws 404 where the message is gone. */
async function hungBefore(db: Db, actor: Actor, { id, at, messageId, extension }: Before): Promise<Extension> {
  if (!(await isStored(db, actor, messageId))) throw notFound("message");
  return { ...extension, id, messageId, authorId: actor.self, createdAt: at };
}

const reactionOf = ({ extensions }: Post, { self }: Actor, emoji: string): Extension | undefined =>
  extensions.find(({ type, authorId, data }) => type === "reaction" && authorId === self && data["emoji"] === emoji);

/** Takes something off a message again. Throws 404 and 409 as `addExtension` does, 403 where it is another's, or a history. */
export async function removeExtension(
  { db, clock }: PostDeps,
  actor: Actor,
  { messageId, id }: { messageId: string; id: string },
): Promise<void> {
  await untilDone(async () => {
    const { extensions, conversationId } = await getLivingPost(db, actor, messageId);
    const extension = extensions.find((one) => one.id === id);
    if (!extension) throw notFound("extension");
    refuseHistory(extension.type);
    if (actor.sees !== "all" && extension.authorId !== actor.self) {
      throw new AppError("forbidden", "An extension is removed by its author or an admin.");
    }
    await refuseIfEnded(db, actor, conversationId);
    return tried(db, [
      guard(takeChangeRev, { ...actor, conversationId, now: clock() }),
      guard(touchMessageRow, { conversationId, id: messageId }),
      guard(deleteExtensionRow, { id, messageId }),
    ]);
  });
}

/** Throws 403: what a message said before is told by its edits alone. */
export function refuseHistory(type: string): void {
  if (type === "edit_history")
    throw new AppError("forbidden", "The history of a message is written by its edits alone.");
}
