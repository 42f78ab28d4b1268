import { isConflict } from "../db/db.ts";
import type { KeySwap } from "../db/keys.ts";
import type { Metadata, TurnOptions } from "../db/tables.ts";
import { QUEUE_LIMIT } from "../db/turn-writes.ts";
import { allowanceAt, refuseSpent } from "./allowance.ts";
import { findCalled, mayMakeCalled } from "./client-ids.ts";
import { getConversation } from "./conversations.ts";
import { AppError } from "./errors.ts";
import { type Given, newId } from "./id.ts";
import type { Actor } from "./identity.ts";
import { joined, settledUse } from "./joining.ts";
import { type RequestKey, takenKey } from "./keys.ts";
import { startTurn } from "./launch.ts";
import { LEASE_MS, type Live, type LiveTurn, type SeenTurn, stopLive, type TurnDeps, type TurnRef } from "./live.ts";
import { firstExtensions, type NewExtension, refuseIfStored } from "./posting.ts";
import { openTurn } from "./rows.ts";
import { previewOf, titleFrom } from "./text.ts";
import { sleep } from "./time.ts";
import type { Trace } from "./trace.ts";
import { basisOf } from "./window.ts";

/** How long a send waits for room in a full queue before it is refused, and how often it looks. */
const ROOM_WAIT_MS = 2_000;
const ROOM_POLL_MS = 20;

export type IfBusy = "queue" | "reject" | "interrupt";

export type Question = Given & {
  /** null makes a new conversation of the actor's user. */
  conversationId: string | null;
  /** In its place, what the client calls a conversation: one that is known, or a new one under it. */
  clientId?: string | undefined;
  content: string;
  /** Who says it; if this is left out the actor's user, or the agent itself, who speaks for nobody else. */
  senderId?: string;
  metadata?: Metadata | null;
  extensions?: readonly NewExtension[];
  model: string | undefined;
  /** What happens where another turn is open; it waits in line if this is left out. */
  ifBusy?: IfBusy | undefined;
  /** For this turn only. */
  options?: TurnOptions | null;
  /** Answers wanted; one if it is left out. */
  wanted?: number | undefined;
  key?: RequestKey | null;
  /** The trace of the request: the turn goes on in it, also when the request is over. */
  trace?: Trace | undefined;
  /** The request's own, which the turn keeps for those who look for it later. */
  requestId?: string | null;
};

/**
 * Stores a question and begins its turn, behind those that are open. It is stored when this resolves; the turn then
 * belongs to the process, whether or not anybody waits for it. A key that was used before gives its turn again, wherever
 * that runs; if it failed, the stored question gets a new one. Throws, and stores nothing: 422 for an unknown model or a
 * key of another request, 404 where the conversation is not the actor's to see or to make, 409 where the assistant may not speak or the
 * conversation is busy, 429 where the queue stays full or its user may take no more; and `Conflict` where a given id is taken.
 */
export async function beginTurn(deps: TurnDeps, actor: Actor, question: Question): Promise<SeenTurn | LiveTurn> {
  refuseWhileLeaving(deps.live);
  const { ifBusy = "queue", id } = question;
  const mayWaitUntil = deps.clock() + (ifBusy === "reject" ? 0 : ROOM_WAIT_MS);
  for (;;) {
    const conversationId = await conversationOf(deps, actor, question);
    const placed = { ...question, conversationId };
    const turn = (await tryToBegin(deps, actor, placed)) ?? (await beginEarlier(deps, actor, placed));
    if (turn) return turn;
    if (id !== undefined) await refuseIfStored(deps.db, actor, id);
    await refuse(deps, actor, { conversationId, ifBusy, mayWait: deps.clock() < mayWaitUntil });
    await sleep(ROOM_POLL_MS);
  }
}

/** Looked up at each try: of two that make one under the same id, the slower finds it. */
async function conversationOf({ db }: TurnDeps, actor: Actor, { conversationId, clientId }: Question) {
  if (clientId === undefined) return conversationId;
  const known = await findCalled(db, actor, clientId);
  if (known === undefined) mayMakeCalled(actor);
  return known ?? null;
}

function refuseWhileLeaving(live: Live): void {
  if (!live.leaving) return;
  throw new AppError("provider_unavailable", "The service is stopping; try again in a moment.", { retryAfterS: 1 });
}

/** undefined where the key is taken, or the conversation takes no turn. */
async function tryToBegin(deps: TurnDeps, actor: Actor, question: Question): Promise<LiveTurn | undefined> {
  const { content, ifBusy, key = null, options = null, trace, requestId = null } = question;
  const since = performance.now();
  const plan = { ...deps.models.plan(question.model, options ?? undefined), trace };
  const now = deps.clock();
  const ids = {
    conversationId: question.conversationId ?? newId(),
    clientId: question.clientId ?? null,
    turnId: newId(),
    questionId: question.id ?? newId(),
    answerId: newId(),
    model: plan.model,
    requestId,
  };
  const { turnWrites } = deps.db;
  const asked = {
    ...actor,
    ...ids,
    ...allowanceAt(deps, now),
    senderId: question.senderId ?? (actor.sees === "live" ? actor.self : actor.userId),
    options,
    content,
    metadata: question.metadata ?? null,
    extensions: firstExtensions(question.extensions ?? [], { messageId: ids.questionId, authorId: actor.self, now }),
    title: titleFrom(content),
    preview: previewOf(content),
    now,
    leaseMs: LEASE_MS,
    room: ifBusy === "reject" ? 0 : QUEUE_LIMIT,
    interrupt: ifBusy === "interrupt",
    also: question.also ?? [],
    key: key && takenKey(actor, key, now),
  };
  const begun = await turnWrites.begin(asked, question.conversationId === null).catch(nothingIfConflict);
  if (!begun) return undefined;
  stopLive(deps.live, begun.stopped);
  const systemPrompt = options?.systemPrompt ?? begun.systemPrompt;
  return startTurn(deps, {
    ...ids,
    ...begun,
    systemPrompt,
    before: begun.seq,
    basis: basisOf(begun, [{ seq: begun.seq - 1, role: "user", senderId: asked.senderId, content }]),
    plan,
    since,
    createdAt: now,
    wanted: question.wanted ?? 1,
  });
}

function nothingIfConflict(error: unknown): undefined {
  if (!isConflict(error)) throw error;
}

/** The turn of a key that was used before, or a new one in its place; undefined where there is none, or none may begin. */
async function beginEarlier(
  deps: TurnDeps,
  actor: Actor,
  question: Question,
): Promise<SeenTurn | LiveTurn | undefined> {
  const { key, model, options = null, wanted, trace, requestId = null } = question;
  const earlier = key && (await settledUse(deps, actor, key));
  if (!earlier) return undefined;
  const { turn, questionSeq, swap, failed, actor: by } = earlier;
  if (!failed) return joined(deps, earlier, () => beginTurn(deps, actor, question));
  const again = await answerAgain(deps, by, {
    turn,
    questionSeq,
    model,
    options,
    wanted,
    trace,
    requestId,
    newest: null,
    key: null,
    swap,
  });
  if (!again) await refuse(deps, by, { conversationId: turn.conversationId, ifBusy: "queue", mayWait: true });
  return again;
}

/** Another answer to a question that has one, or had: `turn` is the one before. */
export type Again = {
  turn: TurnRef;
  questionSeq: number;
  model: string | undefined;
  options: TurnOptions | null;
  wanted?: number | undefined;
  trace?: Trace | undefined;
  requestId: string | null;
  /** The answer that must be the conversation's newest. */
  newest: string | null;
  key: RequestKey | null;
  swap: KeySwap | null;
};

/** Begins another turn for a stored question; undefined where somebody was faster, or the conversation takes no turn. */
export async function answerAgain(deps: TurnDeps, actor: Actor, again: Again): Promise<LiveTurn | undefined> {
  const { options, trace, requestId } = again;
  const since = performance.now();
  const plan = { ...deps.models.plan(again.model, options ?? undefined), trace };
  const now = deps.clock();
  const { newest, key, swap } = again;
  const { conversationId, questionId } = again.turn;
  const ids = { conversationId, questionId, turnId: newId(), answerId: newId(), model: plan.model, requestId };
  const asked = {
    ...actor,
    ...ids,
    ...allowanceAt(deps, now),
    options,
    now,
    leaseMs: LEASE_MS,
    room: QUEUE_LIMIT,
    newest,
    swap,
    key: key && takenKey(actor, key, now),
  };
  const begun = await deps.db.turnWrites.beginAgain(asked).catch(nothingIfConflict);
  if (!begun) return undefined;
  const place = { before: again.questionSeq + 1, basis: basisOf(begun, []) };
  const systemPrompt = options?.systemPrompt ?? begun.systemPrompt;
  const { wanted = 1 } = again;
  return startTurn(deps, { ...ids, ...begun, ...place, systemPrompt, plan, since, createdAt: now, wanted });
}

type Refused = { conversationId: string | null; ifBusy: IfBusy; mayWait: boolean };

/** Says why a turn could not begin; returns where trying again may help. */
export async function refuse(
  deps: TurnDeps,
  actor: Actor,
  { conversationId, ifBusy, mayWait }: Refused,
): Promise<void> {
  if (conversationId === null) return refuseSpent(deps, actor.userId);
  const conversation = await getConversation(deps.db, actor, conversationId);
  if (conversation.status === "ended") {
    throw new AppError("session_ended", "The conversation has ended; it takes no more messages.");
  }
  if (conversation.control !== "assistant") {
    const who = conversation.control === "agent" ? "an agent is in control" : "it waits for an agent";
    throw new AppError("session_with_agent", `The assistant does not answer here: ${who}.`);
  }
  await refuseSpent(deps, conversation.userId);
  if (ifBusy === "reject") {
    const open = await openTurn(deps.db, actor, conversationId);
    if (open) throw new AppError("conversation_busy", "Another turn is open here.", { turnId: open.id });
    return; // it ended just now
  }
  if (mayWait) return;
  const detail = `${QUEUE_LIMIT} messages already wait in this conversation.`;
  throw new AppError("queue_full", detail, { retryAfterS: 1, limit: { name: "queue", quota: QUEUE_LIMIT } });
}
