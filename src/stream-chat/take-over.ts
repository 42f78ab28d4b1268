import { createConversation } from "../core/conversations.ts";
import { AppError, type Code } from "../core/errors.ts";
import type { TurnDeps } from "../core/live.ts";
import { deletePost, editPost } from "../core/post-changes.ts";
import { post } from "../core/posting.ts";
import { findPost } from "../core/thread.ts";
import { beginTurn } from "../core/turns.ts";
import { guard, isConflict } from "../db/db.ts";
import type { Conversation } from "../db/tables.ts";
import { messageText } from "../http/schemas.ts";
import {
  attachmentsOf,
  contentOf,
  isEcho,
  isFresh,
  isGone,
  isSaid,
  type MessageEvent,
  partOf,
  type StreamEvent,
  timeIn,
} from "./event.ts";
import { cameFromStream, channelSteps, isNotDeleted, newerState, noteState } from "./ids.ts";
import { actorIn, isBy, ownerIn, ownerOf, type Person, personOf } from "./people.ts";
import { findPlace, type Known, type Place } from "./place.ts";

/** What is made of a message's state at Stream: whichever state comes first or twice, the newest stands. */

export type TakeOverDeps = {
  readonly turns: TurnDeps;
  /** As which user of Stream the assistant speaks. */
  readonly assistantId: string;
};

/** How an event ended; `refused` can never work, and `unknown` is of something that may still come. */
export type Outcome = { kind: "done" } | { kind: "refused"; reason: string } | { kind: "unknown" };

export const DONE: Outcome = { kind: "done" };
export const UNKNOWN: Outcome = { kind: "unknown" };
export const refused = (reason: string): Outcome => ({ kind: "refused", reason });

/** Takes over what a message says now, or that it is gone. Throws where trying again may help. */
export async function takeMessage(deps: TakeOverDeps, event: MessageEvent): Promise<Outcome> {
  const { message, channel_id: channelId } = event;
  const place = await findPlace(deps.turns.db, channelId, message.id);
  const { conversation, known, refusal } = place;
  if (refusal) return refused(refusal);
  if (conversation && known) {
    return isGone(event) ? takeDeletion(deps, conversation, known) : takeEdit(deps, conversation, { known, event });
  }
  if (isGone(event)) return (await isPart(deps, place, event)) ? DONE : UNKNOWN;
  return (await isPart(deps, place, event, message.text ?? "")) ? DONE : takeUnknown(deps, place, event);
}

async function takeUnknown(deps: TakeOverDeps, { conversation, conversationId }: Place, event: MessageEvent) {
  const { message } = event;
  // What the assistant says is made here, and nowhere else.
  if (message.user.id === deps.assistantId || !isSaid(message)) return DONE;
  const content = contentOf(message);
  if (!messageText.safeParse(content).success) return refused(content.trim() === "" ? "empty" : "too_long");
  if (conversation) return takeNew(deps, conversation, { event, content });
  await makeConversation(deps, conversationId, event);
  return takeMessage(deps, event);
}

/**
 * Whether a message that is not here is a later part of one that is. Where it says something that must stand in the other's
 * text, now or before: what somebody else says under such an id is not lost.
 */
export async function isPart(
  { turns }: TakeOverDeps,
  { conversation }: Place,
  { message, channel_id: channelId }: StreamEvent,
  text = "",
): Promise<boolean> {
  const whole = partOf(message.id);
  if (whole === null || !conversation || !message.parley) return false;
  const { known, messageId } = await findPlace(turns.db, channelId, whole);
  if (known?.message.conversationId !== conversation.id) return false;
  const { content, extensions } = await findPost(turns.db, actorIn(conversation, conversation.userId), messageId);
  const said = [content, ...extensions.flatMap(({ type, data }) => (type === "edit_history" ? [data["content"]] : []))];
  return said.some((one) => typeof one === "string" && one.includes(text));
}

/** Where another was faster there is one now. */
async function makeConversation({ turns, assistantId }: TakeOverDeps, id: string, event: MessageEvent): Promise<void> {
  const live = { isLive: true, control: "assistant", agentId: null, metadata: null, previousId: null } as const;
  const made = {
    ...{ id, live, title: null, now: turns.clock(), key: null },
    also: [guard(isNotDeleted, { id }), ...channelSteps(event.channel_id)],
    respond: (row: Conversation) => row,
    read: (): never => {
      throw new Error("there was no key");
    },
  };
  await createConversation(turns.db, ownerIn(ownerOf(event, assistantId)), made).catch((error) => {
    if (!isConflict(error)) throw error;
  });
}

/** Why a question may have no answer, and is to be kept all the same. */
const UNANSWERED: readonly Code[] = [
  "session_with_agent",
  "rate_limited",
  "quota_exceeded",
  "queue_full",
  "validation_failed", // no model is usable
];

type New = { event: MessageEvent; content: string };

async function takeNew({ turns }: TakeOverDeps, conversation: Conversation, { event, content }: New): Promise<Outcome> {
  const { message } = event;
  const person = personOf(message.user, conversation);
  const note = cameFromStream(message.id, timeIn(message.updated_at));
  const said = {
    id: note.messageId,
    also: note.steps,
    conversationId: conversation.id,
    content,
    senderId: person.id,
    metadata: null,
    extensions: attachmentsOf(message),
  };
  if (person.kind === "owner" && isFresh(message)) {
    const begun = await beginTurn(turns, ownerIn(person.id), { ...said, model: undefined }).catch(nothingIfUnanswered);
    if (begun) return DONE;
  }
  await post(turns, actorOf(person, conversation), { ...said, role: roleOf(person), key: null });
  return DONE;
}

function nothingIfUnanswered(error: unknown): undefined {
  if (!(error instanceof AppError) || !UNANSWERED.includes(error.code)) throw error;
}

const actorOf = ({ kind, id }: Person, conversation: Conversation) =>
  kind === "owner" ? ownerIn(id) : actorIn(conversation, id);
const roleOf = ({ kind }: Person) => (kind === "agent" ? "agent" : "user");

type Edited = { known: Known; event: MessageEvent };

/** Whether a message of somebody's may say something else now than it does here. */
function isNews({ known: { message, changedAt }, event }: Edited): boolean {
  const isSomebodys = message.role === "user" || message.role === "agent";
  if (!isSomebodys || message.deletedAt !== null || event.type === "message.new") return false; // nothing is older than that
  return !isEcho(event.message) && (changedAt === null || timeIn(event.message.updated_at) >= changedAt);
}

async function takeEdit({ turns }: TakeOverDeps, conversation: Conversation, edited: Edited): Promise<Outcome> {
  if (!isNews(edited)) return DONE;
  const { message } = edited.event;
  const { message: before, changedAt } = edited.known;
  const at = timeIn(message.updated_at);
  if (!isBy(before.senderId, message.user)) return refused("not_its_author");
  // It is not told which piece of the whole it takes the place of.
  if (message.parley && message.parley.parts > 1) return refused("one_of_parts");
  const content = contentOf(message);
  const state = { id: before.id, streamId: message.id, changedAt: at };
  if (content === before.content) {
    if (changedAt !== null && at > changedAt) await turns.db.batch([noteState(state)]);
    return DONE;
  }
  if (!messageText.safeParse(content).success) return refused(content.trim() === "" ? "empty" : "too_long");
  const actor = actorIn(conversation, before.senderId ?? conversation.userId);
  await editPost(turns, actor, { id: before.id, content, also: [guard(newerState, state)] });
  return DONE;
}

async function takeDeletion({ turns }: TakeOverDeps, conversation: Conversation, { message }: Known): Promise<Outcome> {
  // Answers that failed or gave way to another are taken away there by ourselves.
  const isOver = message.supersededAt !== null || (message.role === "assistant" && message.status === "failed");
  if (message.deletedAt !== null || isOver) return DONE;
  await deletePost(turns, actorIn(conversation, conversation.userId), message.id);
  return DONE;
}
