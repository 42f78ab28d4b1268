import { findCalled } from "../core/client-ids.ts";
import { createConversation } from "../core/conversations.ts";
import { AppError, type Code } from "../core/errors.ts";
import type { TurnDeps } from "../core/live.ts";
import { deletePost, editPost } from "../core/post-changes.ts";
import { post } from "../core/posting.ts";
import type { Post } from "../core/thread.ts";
import { beginTurn } from "../core/turns.ts";
import { guard, isConflict } from "../db/db.ts";
import type { Conversation, Message } from "../db/tables.ts";
import { messageText } from "../http/schemas.ts";
import {
  attachmentsOf,
  contentOf,
  type EventMessage,
  isEcho,
  isFresh,
  isGone,
  isSaid,
  type MessageEvent,
  timeIn,
} from "./event.ts";
import { cameFromStream, channelSteps, isNotDeleted, newerState, noteState, showAgain } from "./ids.ts";
import type { Known } from "./known.ts";
import { hashOf, textsOf } from "./parts.ts";
import { actorIn, isBy, ownerIn, ownerOf, type Person, personOf } from "./people.ts";
import { findPlace, type KnownMessage, type Place, wholeOf } from "./place.ts";

/** What is made of a message's state at Stream: whichever state comes first or twice, the newest stands. */

export type TakeOverDeps = {
  readonly turns: TurnDeps;
  /** As which user of Stream the assistant speaks. */
  readonly assistantId: string;
  /** Of messages by their ids there: which text, by its hash, was refused last and has not given way since. */
  readonly refusals: Known<string>;
};

/** How an event ended; `refused` can never work, and `unknown` is of something that may still come. */
export type Outcome = { kind: "done" } | { kind: "refused"; reason: string } | { kind: "unknown" };

export const DONE: Outcome = { kind: "done" };
export const UNKNOWN: Outcome = { kind: "unknown" };
export const refused = (reason: string): Outcome => ({ kind: "refused", reason });

/** Takes over what a message says now, or that it is gone. Throws where trying again may help. */
export async function takeMessage(deps: TakeOverDeps, event: MessageEvent): Promise<Outcome> {
  const { message, channel_id: channelId } = event;
  if (isEcho(message)) deps.refusals.forget(message.id);
  const place = await findPlace(deps.turns.db, channelId, message.id);
  const { conversation, known, refusal } = place;
  if (refusal) return refused(refusal);
  if (conversation && known) {
    return isGone(event) ? takeDeletion(deps, conversation, known) : takeEdit(deps, conversation, { known, event });
  }
  const whole = await wholeOf(deps.turns.db, place, event);
  if (!whole) return isGone(event) ? UNKNOWN : takeUnknown(deps, place, event);
  if (isGone(event) || saysPart(whole, message.text ?? "")) return DONE;
  return event.type === "message.new"
    ? takeUnknown(deps, place, event)
    : refuseEdit(deps, { before: whole, event, reason: "one_of_parts" });
}

type Refused = { before: Message; event: MessageEvent; reason: string };

/**
 * What was made of a message at Stream is not taken over, so it does not stand there either; unless it is what Stream makes
 * of it by itself (a word list that masks, say): showing it again and again would never end.
 */
async function refuseEdit({ turns, refusals }: TakeOverDeps, { before, event, reason }: Refused): Promise<Outcome> {
  const { id, text } = event.message;
  const hash = hashOf(text ?? "");
  if (refusals.get(id) !== hash) await showAgain(turns.db, before);
  refusals.put(id, hash);
  return refused(reason);
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

/** Whether a text stands in a message's, now or before: what somebody else says under the id of a part is not lost. */
const saysPart = (post: Post, text: string): boolean => textsOf(post).some((one) => one.includes(text));

/** Where another was faster there is one now. */
async function makeConversation({ turns, assistantId }: TakeOverDeps, id: string, event: MessageEvent): Promise<void> {
  const owner = ownerIn(ownerOf(event, assistantId));
  const { channel_id: channelId } = event;
  // Its user may have something else under that id already.
  const isTaken = id === channelId || (await findCalled(turns.db, owner, channelId)) !== undefined;
  const live = { isLive: true, control: "assistant", agentId: null, metadata: null, previousId: null } as const;
  const made = {
    ...{ id, clientId: isTaken ? null : channelId, live, title: null, now: turns.clock(), key: null },
    also: [guard(isNotDeleted, { id }), ...channelSteps(channelId)],
    respond: (row: Conversation) => row,
  };
  await createConversation(turns.db, owner, made).catch((error) => {
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

type Edited = { known: KnownMessage; event: MessageEvent };

/** Whether a message may say something else now than it does here. */
function isNews({ known: { message, changedAt }, event }: Edited): boolean {
  const { type, message: there } = event;
  if (message.deletedAt !== null || type === "message.new" || isEcho(there)) return false; // nothing is older than that
  // An answer as it grows, or grew: that was shown at an earlier revision.
  const isGrowing = message.status === "in_progress" || there.parley?.rev !== message.rev;
  if (message.role === "assistant" && isGrowing) return false;
  return changedAt === null || timeIn(there.updated_at) >= changedAt;
}

/** Why an edit is not taken over; null where it is. */
function refusalOf(before: Message, message: EventMessage): string | null {
  if (!isBy(before.senderId, message.user)) return "not_its_author";
  if (message.parley && message.parley.parts > 1) return "one_of_parts"; // it is not told which piece of the whole it replaces
  const content = contentOf(message);
  if (messageText.safeParse(content).success) return null;
  return content.trim() === "" ? "empty" : "too_long";
}

async function takeEdit(deps: TakeOverDeps, conversation: Conversation, edited: Edited): Promise<Outcome> {
  if (!isNews(edited)) return DONE;
  const { turns } = deps;
  const { message } = edited.event;
  const { message: before, changedAt } = edited.known;
  const refusal = refusalOf(before, message);
  if (refusal) return refuseEdit(deps, { before, event: edited.event, reason: refusal });
  const [at, content] = [timeIn(message.updated_at), contentOf(message)];
  const state = { id: before.id, streamId: message.id, changedAt: at };
  if (content === before.content) {
    if (changedAt !== null && at > changedAt) await turns.db.batch([noteState(state)]);
    return DONE;
  }
  const actor = actorIn(conversation, before.senderId ?? conversation.userId);
  try {
    await editPost(turns, actor, { id: before.id, content, also: [guard(newerState, state)] });
    return DONE;
  } catch (error) {
    if (!(error instanceof AppError) || error.code !== "validation_failed") throw error;
    return refuseEdit(deps, { before, event: edited.event, reason: error.code }); // its history is full
  }
}

async function takeDeletion(
  { turns }: TakeOverDeps,
  conversation: Conversation,
  { message }: KnownMessage,
): Promise<Outcome> {
  // Answers that failed or gave way to another are taken away there by ourselves.
  const isOver = message.supersededAt !== null || (message.role === "assistant" && message.status === "failed");
  if (message.deletedAt !== null || isOver) return DONE;
  await deletePost(turns, actorIn(conversation, conversation.userId), message.id);
  return DONE;
}
