import { guard } from "../db/db.ts";
import { deleteExtensionRow, hasRoom, takeChangeRev, touchMessageRow } from "../db/session-writes.ts";
import type { Extension } from "../db/tables.ts";
import { AppError, notFound } from "./errors.ts";
import type { Actor } from "./identity.ts";
import type { TurnDeps } from "./live.ts";
import { done, extensionSteps, MOST_EXTENSIONS, type NewExtension, whyNot } from "./posting.ts";
import { getPost, type Post } from "./thread.ts";

/** What hangs on a message: attachments, reactions and any other type. */

type Deps = Pick<TurnDeps, "db" | "clock">;

/**
 * Hangs something on a message. The same reaction of the same author is given again. Throws 404 as `getPost` does, 403 for
 * a history, 409 where the session has ended, 422 where the message holds too many.
 */
export async function addExtension(
  { db, clock }: Deps,
  actor: Actor,
  { messageId, extension }: { messageId: string; extension: NewExtension },
): Promise<Extension> {
  refuseHistory(extension.type);
  const message = await livingPost(db, actor, messageId);
  const { conversationId } = message;
  const emoji = extension.type === "reaction" ? String(extension.data["emoji"]) : null;
  const now = clock();
  const rows = await done(db, [
    guard(takeChangeRev, { ...actor, conversationId, now }),
    guard(touchMessageRow, { conversationId, id: messageId }),
    guard(hasRoom, { messageId, authorId: actor.self, emoji, most: MOST_EXTENSIONS }),
    ...extensionSteps(messageId, { authorId: actor.self, extensions: [extension], now }),
  ]);
  const [added] = (rows?.[3] ?? []) as Extension[];
  if (added) return added;
  const already = emoji === null ? undefined : await reactionOf(db, actor, { messageId, emoji });
  if (already) return already;
  throw await whyNot(db, actor, message);
}

async function reactionOf(db: Deps["db"], actor: Actor, { messageId, emoji }: { messageId: string; emoji: string }) {
  const { extensions } = await getPost(db, actor, messageId);
  return extensions.find(
    ({ type, authorId, data }) => type === "reaction" && authorId === actor.self && data["emoji"] === emoji,
  );
}

/** Takes something off a message again. Throws 404 and 409 as `addExtension` does, 403 where it is another's, or a history. */
export async function removeExtension(
  { db, clock }: Deps,
  actor: Actor,
  { messageId, id }: { messageId: string; id: string },
): Promise<void> {
  const message = await livingPost(db, actor, messageId);
  const extension = message.extensions.find((one) => one.id === id);
  if (!extension) throw notFound("extension");
  refuseHistory(extension.type);
  if (actor.sees !== "all" && extension.authorId !== actor.self) {
    throw new AppError("forbidden", "An extension is removed by its author or an admin.");
  }
  const { conversationId } = message;
  const rows = await done(db, [
    guard(takeChangeRev, { ...actor, conversationId, now: clock() }),
    guard(touchMessageRow, { conversationId, id: messageId }),
    guard(deleteExtensionRow, { id, messageId }),
  ]);
  if (!rows) throw await whyNot(db, actor, message);
}

async function livingPost(db: Deps["db"], actor: Actor, messageId: string): Promise<Post> {
  const message = await getPost(db, actor, messageId);
  if (message.deletedAt !== null) throw notFound("message");
  return message;
}

function refuseHistory(type: string): void {
  if (type === "edit_history")
    throw new AppError("forbidden", "The history of a message is written by its edits alone.");
}
