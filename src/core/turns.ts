import { isConflict } from "../db/db.ts";
import { type Alternative, type BegunTurn, QUEUE_LIMIT } from "../db/turn-writes.ts";
import { getConversation } from "./conversations.ts";
import { AppError } from "./errors.ts";
import { newId } from "./id.ts";
import type { Actor } from "./identity.ts";
import { addLive, LEASE_MS, type Live, type LiveTurn, removeLive, type TurnDeps } from "./live.ts";
import { runTurn, waitForSlot } from "./run.ts";
import { previewOf, titleFrom } from "./text.ts";
import { sleep } from "./time.ts";

/** How long a send waits for room in a full queue before it is refused, and how often it looks. */
const ROOM_WAIT_MS = 2_000;
const ROOM_POLL_MS = 20;

export type Question = {
  /** null makes a new conversation of the actor's user. */
  conversationId: string | null;
  content: string;
  model: string | undefined;
  /** Answers wanted; one if it is left out. */
  wanted?: number | undefined;
};

/**
 * Stores a question and begins its turn, behind those that are open. It is stored when this resolves; the turn then
 * belongs to the process, whether or not anybody waits for it. Throws, and stores nothing: 422 for an unknown model, 404
 * where the conversation is not the actor's, 409 where the assistant may not speak, 429 where the queue stays full.
 */
export async function beginTurn(deps: TurnDeps, actor: Actor, question: Question): Promise<LiveTurn> {
  const plan = deps.models.plan(question.model);
  const ids = {
    conversationId: question.conversationId ?? newId(),
    turnId: newId(),
    questionId: newId(),
    answerId: newId(),
  };
  const deadline = deps.clock() + ROOM_WAIT_MS;
  for (;;) {
    try {
      const begun = await deps.db.turnWrites.begin(
        {
          ...actor,
          ...ids,
          senderId: actor.userId,
          content: question.content,
          title: titleFrom(question.content),
          preview: previewOf(question.content),
          model: plan.model,
          now: deps.clock(),
          leaseMs: LEASE_MS,
        },
        question.conversationId === null,
      );
      return startTurn(deps, { ...ids, ...begun, plan, wanted: question.wanted ?? 1 });
    } catch (error) {
      if (!isConflict(error)) throw error;
      await refuse(deps, actor, { id: ids.conversationId, mayWait: deps.clock() < deadline });
    }
    await sleep(ROOM_POLL_MS);
  }
}

/** Says why a turn could not begin; returns where trying again may help. */
async function refuse(deps: TurnDeps, actor: Actor, { id, mayWait }: { id: string; mayWait: boolean }): Promise<void> {
  const conversation = await getConversation(deps.db, actor, id);
  if (conversation.status === "ended") {
    throw new AppError("session_ended", "The conversation has ended; it takes no more messages.");
  }
  if (conversation.control !== "assistant") {
    const who = conversation.control === "agent" ? "an agent is in control" : "it waits for an agent";
    throw new AppError("session_with_agent", `The assistant does not answer here: ${who}.`);
  }
  if (mayWait) return;
  const detail = `${QUEUE_LIMIT} messages already wait in this conversation.`;
  throw new AppError("queue_full", detail, { retryAfterS: 1 });
}

/** Runs a stored turn in this process, at once or when its time comes. */
export function startTurn(
  deps: TurnDeps,
  turn: Omit<LiveTurn, "stop" | "ended"> & Pick<BegunTurn, "status">,
): LiveTurn {
  const { live, log } = deps;
  const stop = new AbortController();
  const ended = (async () => {
    try {
      const elsewhere = turn.status === "queued" ? await waitForSlot(deps, turn, stop.signal) : null;
      if (elsewhere) return elsewhere;
      live.holding.add(turn.turnId);
      return await runTurn(deps, turn, stop.signal);
    } finally {
      removeLive(live, turn.turnId);
    }
  })();
  ended.catch((error) => log.error({ err: error, turn_id: turn.turnId }, "a turn could not be stored"));
  const running: LiveTurn = { ...turn, stop, ended };
  addLive(live, running);
  return running;
}

/** The whole answer of a turn. */
export type Answer = { content: string; model: string; alternatives: Alternative[]; completedAt: number };

/** Waits for a turn: its whole answer, or what became of it instead, with `turn_id` and the attempts. */
export async function outcomeOf(turn: LiveTurn): Promise<Answer | AppError> {
  const { status, content, target, error, attempts, alternatives, completedAt } = await turn.ended;
  if (status === "completed" && target) return { content, model: target, alternatives, completedAt };
  const { code, detail } = error ?? { code: "provider_failed" as const, detail: "The turn was lost." };
  const retry = code === "provider_unavailable" ? { retryAfterS: 5 } : {};
  return new AppError(code, detail, { turnId: turn.turnId, attempts, ...retry });
}

/** Waits for a turn, for a caller that takes nothing less than a whole answer. Throws what became of it otherwise. */
export async function wholeAnswer(turn: LiveTurn): Promise<Answer> {
  const outcome = await outcomeOf(turn);
  if (outcome instanceof AppError) throw outcome;
  return outcome;
}

/** Resolves when every turn of this process has ended, or after `ms`; what then still runs is stopped, its text kept. */
export async function drainTurns(live: Live, ms: number): Promise<void> {
  const ended = Promise.allSettled([...live.turns.values()].map((turn) => turn.ended));
  const late = new AbortController();
  await Promise.race([ended, sleep(ms, late.signal)]);
  late.abort();
  for (const turn of live.turns.values()) turn.stop.abort();
  await ended;
}
