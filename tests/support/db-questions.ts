import type { BeginTurn, BegunTurn, FinishTurn } from "../../src/db/turn-writes.ts";
import { nextId } from "./db-ids.ts";

export const NOW = 1_790_000_000_000; // more than 32 bits hold
export const LEASE_MS = 10_000;

export type Asked = { input: BeginTurn; begun: BegunTurn };

/** A question with ids of its own, of a user of its own, to a conversation of its own. */
export function question(set: Partial<BeginTurn> = {}): BeginTurn {
  const userId = set.userId ?? `user-${nextId()}`;
  return {
    self: userId,
    sees: "own",
    owner: null,
    conversationId: nextId(),
    turnId: nextId(),
    questionId: nextId(),
    answerId: nextId(),
    userId,
    senderId: userId,
    content: "How are you today?",
    title: "A title",
    preview: "How are you?",
    model: "balanced",
    metadata: null,
    extensions: [],
    also: [],
    options: null,
    requestId: "request-1",
    now: NOW,
    leaseMs: LEASE_MS,
    room: 16,
    mostTurns: null,
    mostTokens: null,
    since: 0,
    clientId: null,
    interrupt: false,
    key: null,
    ...set,
  };
}

/** The next question to a conversation, a second later, by the one who asked before. */
export const another = ({ conversationId, userId, now }: BeginTurn, set: Partial<BeginTurn> = {}): BeginTurn =>
  question({ conversationId, userId, now: now + 1_000, ...set });

/** How a turn may end well. */
export function ending({ input, begun }: Asked, set: Partial<FinishTurn> = {}): FinishTurn {
  return {
    conversationId: input.conversationId,
    turnId: input.turnId,
    questionId: input.questionId,
    answerId: input.answerId,
    seq: begun.seq,
    again: false,
    status: "completed",
    content: "Fine, thank you.",
    preview: "Fine",
    target: "openai/large",
    restarts: 0,
    finishReason: "stop",
    usage: { input_tokens: 3, output_tokens: 2, estimated: false },
    cost: null,
    attempts: [
      { target: "openai/large", outcome: "completed", status: 200, ms: 12, first_token_ms: null, usage: null },
    ],
    error: null,
    context: { messages: 1, omitted: 0, estimated_tokens: 5 },
    alternatives: [],
    now: input.now + 500,
    ...set,
  };
}

export const failing = (asked: Asked, set: Partial<FinishTurn> = {}): FinishTurn =>
  ending(asked, {
    status: "failed",
    content: "",
    preview: null,
    target: null,
    finishReason: null,
    usage: null,
    error: { code: "provider_failed", detail: "It failed." },
    context: null,
    ...set,
  });
