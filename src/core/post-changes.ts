import { and, eq, sql } from "drizzle-orm";
import { type Db, guard, statement, step } from "../db/db.ts";
import { eraseSteps } from "../db/erase-writes.ts";
import { hasRoom } from "../db/extension-room.ts";
import { inScope, scopeSlots } from "../db/scope.ts";
import {
  deleteMessageRow,
  editMessageRow,
  forgetTitle,
  resettle,
  takeChangeRev,
  uncount,
} from "../db/session-writes.ts";
import type { Message } from "../db/tables.ts";
import { AppError } from "./errors.ts";
import type { Given } from "./id.ts";
import type { Actor } from "./identity.ts";
import { inLine } from "./in-line.ts";
import type { TurnDeps } from "./live.ts";
import { extensionSteps, type PostDeps, refuseIfEnded, roomNeeded, tried, untilDone, withIds } from "./posting.ts";
import { titleFrom } from "./text.ts";
import { findPost, getLivingMessage, getLivingPost, type Post } from "./thread.ts";

/** What people change of what they said, or take back. */

/** An agent's notes are its own as well; an answer is nobody's but an admin's. */
const isSender = (actor: Actor, { role, senderId }: Message): boolean =>
  senderId === actor.self && (actor.sees === "own" ? role === "user" : role !== "assistant");

/** Throws where the actor may not change a message. */
async function refuseIfNotOwn(db: Db, actor: Actor, message: Message): Promise<void> {
  if (actor.sees !== "all" && !isSender(actor, message)) {
    throw new AppError("forbidden", "A message is changed by its sender or an admin.");
  }
  await refuseIfEnded(db, actor, message.conversationId);
  if (message.status === "in_progress") throw stillMade(message.turnId);
}

const stillMade = (turnId: string | null) =>
  new AppError("conversation_busy", "The answer is still being made.", turnId === null ? {} : { turnId });

type Edit = { id: string; content: string } & Pick<Given, "also">;

/**
 * Gives a message another text; the old one goes to its history. Throws 404 as `getLivingPost` does, 403 where the actor is
 * neither its sender nor an admin, 409 where the session has ended or the answer is still being made, 422 where its history
 * is full.
 */
export const editPost = (deps: PostDeps, actor: Actor, edit: Edit): Promise<Post> =>
  inLine(deps.db, edit.id, () => editNow(deps, actor, edit));

async function editNow({ db, clock }: PostDeps, actor: Actor, { id, content, also = [] }: Edit): Promise<Post> {
  await untilDone(async () => {
    // What hangs on it is not read: of many who edit it at once all but one try again.
    const before = await getLivingMessage(db, actor, id);
    await refuseIfNotOwn(db, actor, before);
    const { conversationId } = before;
    const earlier = (at: number) => ({
      type: "edit_history",
      data: { content: before.content, edited_at: new Date(at).toISOString() },
    });
    const one = { ...earlier(clock()), messageId: id, authorId: actor.self };
    const { room, newestAt } = await roomNeeded(db, actor, one);
    // History is in the order of the edits, whatever the clocks of several instances say.
    const now = Math.max(clock(), newestAt + 1);
    const history = withIds([earlier(now)], { messageId: id, authorId: actor.self, now });
    return tried(db, [
      guard(takeChangeRev, { ...actor, conversationId, now }),
      guard(hasRoom, { ...room, emoji: null }),
      step(uncount, { conversationId, id }),
      guard(editMessageRow, { conversationId, id, before: before.rev, content, now }),
      ...extensionSteps(history),
      step(resettle, { conversationId, id }),
      ...also,
    ]);
  });
  return findPost(db, actor, id);
}

const selectAnswering = statement([...scopeSlots, "conversationId", "id"], (db, $) => {
  const { turns: t, conversations: c } = db.tables;
  return db
    .select({ id: t.id })
    .from(t)
    .innerJoin(c, eq(c.id, t.conversationId))
    .where(
      and(
        eq(t.conversationId, $.conversationId),
        inScope(db, $),
        eq(t.userMessageId, $.id),
        sql`${t.status} in ('queued', 'in_progress')`,
      ),
    );
});

type DeleteDeps = PostDeps & Pick<TurnDeps, "retention">;

/**
 * Leaves a message out of everything but an admin's view, and of that too once its text is kept no longer. Throws as `editPost` does, 404 where it is deleted already, 409
 * also for a question that is still being answered.
 */
export async function deletePost({ db, clock, retention }: DeleteDeps, actor: Actor, id: string): Promise<Post> {
  await untilDone(async () => {
    const before = await getLivingPost(db, actor, id);
    await refuseIfNotOwn(db, actor, before);
    const { conversationId } = before;
    const [answering] = await db.all(selectAnswering, { ...actor, conversationId, id });
    if (answering) throw stillMade(answering.id);
    const now = clock();
    return tried(db, [
      guard(takeChangeRev, { ...actor, conversationId, now }),
      step(uncount, { conversationId, id }),
      guard(deleteMessageRow, { conversationId, id, now }),
      step(resettle, { conversationId, id }),
      ...titlesFrom(before).map((title) => step(forgetTitle, { conversationId, title })),
      ...(retention.deletedMs === 0 ? eraseSteps({ conversationId, id, now }) : []),
    ]);
  });
  return findPost(db, actor, id);
}

/** The titles that a conversation may have from a message: from what it says, and what it said before. */
function titlesFrom({ content, extensions }: Post): string[] {
  const history = extensions.filter(({ type }) => type === "edit_history");
  const titles = [content, ...history.map(({ data }) => String(data["content"]))].map(titleFrom);
  return [...new Set(titles.filter((title) => title !== null))];
}
