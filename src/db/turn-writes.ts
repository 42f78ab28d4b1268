import { type Allowance, allowanceSteps } from "./allowance.ts";
import { type Db, guard, type Step, step } from "./db.ts";
import { insertExtension } from "./extension-writes.ts";
import { type KeySwap, keySteps, type NewKey, swapSteps } from "./keys.ts";
import type { Scope } from "./scope.ts";
import type { Attempt, ContextReport, Metadata, TurnError, TurnOptions, Usage } from "./tables.ts";
import {
  createWithRevs,
  insertAnswer,
  insertPair,
  insertTurn,
  isNewest,
  questionStands,
  takeRev,
  takeRevs,
} from "./turn-begin.ts";
import { closeOnConversation, closeTurn, insertAlternative, settleSteps, writeAnswer } from "./turn-finish.ts";
import { MARKED, stopSteps } from "./turn-stop.ts";

/** Turns that may wait behind the running one. */
export const QUEUE_LIMIT = 16;

type Beginning = Scope &
  Allowance & {
    conversationId: string;
    turnId: string;
    questionId: string;
    answerId: string;
    model: string;
    options: TurnOptions | null;
    /** Of the request that asked for it; null where none did. */
    requestId: string | null;
    now: number;
    leaseMs: number;
    /** Turns that may be open in the conversation already. */
    room: number;
    /** Whose a new conversation becomes. */
    userId: string;
  };

export type BeginTurn = Beginning & {
  /** What its client calls a new conversation. */
  clientId: string | null;
  senderId: string;
  content: string;
  metadata: Metadata | null;
  /** What hangs on the question. */
  extensions: readonly { id: string; type: string; authorId: string; data: Metadata }[];
  /** null where there is nothing to be seen in the message. */
  title: string | null;
  preview: string;
  /** Stops the conversation's open turns in the same commit: room counts what is left of them. */
  interrupt: boolean;
  /** Taken in the same commit. */
  key: NewKey | null;
  /** Whatever else is. */
  also: readonly Step<unknown>[];
};

/** Another answer to a question that is stored already. */
export type BeginAgain = Beginning & {
  /** The answer that must be the conversation's newest. */
  newest: string | null;
  key: NewKey | null;
  /** A key whose turn this takes the place of. */
  swap: KeySwap | null;
};

export type BegunTurn = {
  seq: number;
  status: "in_progress" | "queued";
  systemPrompt: string | null;
  /** The turns that this stopped: the running one, whose provider is still to be told, and those in line. */
  stopped: string[];
};

export type FinishTurn = {
  conversationId: string;
  turnId: string;
  questionId: string;
  answerId: string;
  seq: number;
  /** The question had been answered before: one answer gives way to the other. */
  again: boolean;
  status: "completed" | "incomplete" | "failed";
  content: string;
  preview: string | null;
  target: string | null;
  restarts: number;
  finishReason: string | null;
  usage: Usage | null;
  /** In US dollars. */
  cost: number | null;
  attempts: Attempt[];
  error: TurnError | null;
  context: ContextReport | null;
  /** Other whole answers to the same question, stored in the same commit as superseded. */
  alternatives: readonly Alternative[];
  now: number;
};

export type Alternative = { id: string; content: string; target: string };

/** The writes of a turn. Each dialect may spell them its own way, for speed. */
export type TurnWrites = {
  /**
   * Stores question, empty answer and turn in one commit, the turn `queued` if another is open. `create` makes the
   * conversation in the same commit. Throws `Conflict`, and stores nothing, unless the conversation is in scope, the
   * assistant is in control of it, it has not ended, its queue has room, its owner may take more and the key is free.
   */
  begin(input: BeginTurn, create: boolean): Promise<BegunTurn>;
  /** The same for another answer to a stored question that was not deleted, under the same conditions and those of the input. */
  beginAgain(input: BeginAgain): Promise<BegunTurn>;
  /**
   * Writes the answer and closes the turn in one commit; tells how many turns of the conversation are still open.
   * Throws `Conflict`, and changes nothing, if the turn is no longer in progress.
   */
  finish(input: FinishTurn): Promise<{ rev: number; openTurns: number }>;
};

type Taken = Omit<Parameters<typeof begun>[0], "stopped">;

/** The writes as batches of prepared statements: right on both databases, and the fast form on SQLite. */
export function batchedTurnWrites(db: () => Db): TurnWrites {
  async function beginAfter(
    stops: readonly Step<unknown>[],
    [allowed, steps]: readonly [Step<unknown>[], Step<unknown>[]],
  ): Promise<BegunTurn> {
    const rows: unknown[][] = await db().batch([...stops, ...allowed, ...steps]);
    const [taken] = rows[stops.length + allowed.length] as Taken[];
    if (!taken) throw new Error("a guard passed without a row");
    const stopped = stops.length > 0 ? (rows[MARKED] as { id: string }[]) : [];
    return begun({ ...taken, stopped: stopped.map((turn) => turn.id) });
  }

  return {
    begin(input, create) {
      const steps = [
        create ? guard(createWithRevs, input) : guard(takeRevs, input),
        step(insertPair, input),
        ...input.extensions.map((one) =>
          step(insertExtension, { ...one, messageId: input.questionId, now: input.now }),
        ),
        step(insertTurn, input),
        ...keySteps(input.key, input),
        ...input.also,
      ];
      return beginAfter(input.interrupt && !create ? stopSteps(input, null) : [], [allowanceSteps(input), steps]);
    },
    beginAgain(input) {
      const steps = [
        guard(takeRev, input),
        guard(questionStands, input),
        ...(input.newest === null ? [] : [guard(isNewest, input)]),
        ...swapSteps(input.swap, input.turnId),
        step(insertAnswer, input),
        step(insertTurn, input),
        ...keySteps(input.key, input),
      ];
      return beginAfter([], [allowanceSteps(input), steps]);
    },
    async finish(input) {
      const { alternatives, again, status } = input;
      const isShown = input.content !== "" && (!again || status === "completed");
      const [[closed]] = await db().batch([
        guard(closeOnConversation, { ...input, listed: isShown ? 1 : 0, alternatives: alternatives.length }),
        guard(closeTurn, input),
        step(writeAnswer, input),
        ...alternatives.map((one, i) => step(insertAlternative, { ...input, ...one, below: i + 1 })),
        ...(again ? settleSteps(input) : []),
      ]);
      if (!closed) throw new Error("a guard passed without a row");
      return closed;
    },
  };
}

/** How a turn stands, from its conversation's row as its begin left it. */
export function begun(row: {
  rev: number;
  openTurns: number;
  systemPrompt: string | null;
  stopped: string[];
}): BegunTurn {
  const { rev, openTurns, systemPrompt, stopped } = row;
  return { seq: rev, status: openTurns > 1 ? "queued" : "in_progress", systemPrompt, stopped };
}
