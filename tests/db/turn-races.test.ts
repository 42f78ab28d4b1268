import { setImmediate } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { isConflict } from "../../src/db/db.ts";
import type { BeginTurn } from "../../src/db/turn-writes.ts";
import { type Asked, another, ending, failing, question } from "../support/db-questions.ts";
import { spellings, useTurns } from "../support/db-turns.ts";

describe.each(spellings)("turns at once in one conversation ($spelling)", (spelling) => {
  const turns = useTurns(spelling);
  const bySeq = (a: Asked, b: Asked) => a.begun.seq - b.begun.seq;

  /** Ends the turns in line one after another, as the runner does. */
  async function answerAll(line: readonly Asked[]) {
    for (const [i, asked] of line.entries()) {
      const { turnId, conversationId } = asked.input;
      if (asked.begun.status === "queued") await turns.promote(turnId);
      expect(await turns.standing(conversationId)).toEqual({
        said: line.length - i,
        open: line.length - i,
        running: 1,
      });
      await turns.writes.finish(i % 3 === 0 ? failing(asked) : ending(asked));
      const left = line.length - i - 1;
      expect(await turns.standing(conversationId)).toEqual({ said: left, open: left, running: 0 });
    }
  }

  it("have 40 questions stored in strict order, one turn running at a time", async () => {
    const first = await turns.begin(question(), true);
    const { conversationId } = first.input;
    const all: Asked[] = [];
    await answerAll([first]);
    for (let group = 0; group < 4; group++) {
      const asked = await Promise.all(Array.from({ length: 10 }, () => turns.begin(another(first.input))));
      asked.sort(bySeq);
      expect(asked.map(({ begun }) => begun.status)).toEqual(["in_progress", ...Array(9).fill("queued")]);
      expect(await turns.standing(conversationId)).toEqual({ said: 10, open: 10, running: 1 });
      await answerAll(asked);
      all.push(...asked);
    }
    const { conversation, messages } = await turns.stored(conversationId);
    expect(messages.map(({ seq }) => seq)).toEqual(seqsOf([first, ...all]));
    expect(messages.map(({ id }) => id)).toEqual(
      [first, ...all].flatMap(({ input }) => [input.questionId, input.answerId]),
    );
    expect(conversation).toMatchObject({ rev: 41 * 3, openTurns: 0 });
  });

  it("keep order and counts where 40 questions and the answers before them cross", async () => {
    const first = await turns.begin(question(), true);
    const { conversationId } = first.input;
    const inputs = [first.input, ...Array.from({ length: 40 }, () => another(first.input))];
    const ask = async (input: BeginTurn) => {
      for (;;) {
        try {
          return await turns.begin(input);
        } catch (error) {
          if (!isConflict(error)) throw error;
          await setImmediate(); // the queue is full until the next answer
        }
      }
    };
    const asking = Promise.all(inputs.slice(1).map(ask));
    const done: string[] = [];
    while (done.length < inputs.length * 2) {
      const next = await turns.firstInLine(conversationId);
      const input = inputs.find(({ turnId }) => turnId === next?.turnId);
      if (next && input) {
        if (next.status === "queued") await turns.promote(next.turnId);
        const { said, open, running } = await turns.standing(conversationId);
        expect({ said, running }).toEqual({ said: open, running: 1 });
        await turns.writes.finish(
          ending({ input, begun: { seq: next.seq, status: "in_progress", systemPrompt: null, stopped: [] } }),
        );
        done.push(input.questionId, input.answerId);
      }
      const { said, open, running } = await turns.standing(conversationId);
      expect(said).toBe(open);
      expect(running).toBeLessThanOrEqual(1);
      await setImmediate();
    }
    const asked = [first, ...(await asking)].sort(bySeq);
    const { conversation, messages } = await turns.stored(conversationId);
    expect(messages.map(({ id }) => id)).toEqual(done);
    expect(messages.map(({ seq }) => seq)).toEqual(seqsOf(asked));
    expect(conversation).toMatchObject({ rev: 41 * 3, openTurns: 0, messageCount: 82, lastMessage: "Fine" });
  });
});

const seqsOf = (asked: readonly Asked[]) => asked.flatMap(({ begun }) => [begun.seq - 1, begun.seq]);
