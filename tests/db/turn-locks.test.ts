import type postgres from "postgres";
import { describe, expect, it } from "vitest";
import { isConflict } from "../../src/db/db.ts";
import { postgresTurnWrites } from "../../src/db/postgres-turns.ts";
import { blocked, connectPostgres } from "../support/db-postgres.ts";
import { another, ending, NOW, question } from "../support/db-questions.ts";
import { spellings, useTurns } from "../support/db-turns.ts";

const onPostgres = spellings.filter(({ spelling }) => spelling !== "SQLite");

const over =
  (tx: postgres.Sql): Parameters<typeof postgresTurnWrites>[0] =>
  (text, values) =>
    tx.unsafe(text, [...values], { prepare: true });

describe.each(onPostgres)("a turn's write that waits while another instance commits ($spelling)", (spelling) => {
  const turns = useTurns(spelling);

  /** Lets `first` change a conversation, starts `second` upon that, and commits once that waits; gives how it ends. */
  async function between<R>(first: (tx: postgres.Sql) => Promise<unknown>, second: () => Promise<R>) {
    const outside = connectPostgres(turns.url);
    const outcome = await outside.begin(async (tx) => {
      await first(tx as unknown as postgres.Sql);
      const waiting = second().then(
        (value) => ({ value }),
        (error: unknown) => ({ error }),
      );
      await blocked(outside);
      return { waiting };
    });
    return outcome.waiting;
  }

  it("leaves a question that came meanwhile as the last message", async () => {
    const first = await turns.begin(question(), true);
    const second = another(first.input, { preview: "And you?" });
    const finished = await between(
      (tx) => postgresTurnWrites(over(tx), turns.writes).begin(second, false),
      () => turns.writes.finish(ending(first)),
    );
    expect(finished).toMatchObject({ value: { rev: 5, openTurns: 1 } });
    const { conversation } = await turns.stored(first.input.conversationId);
    expect(conversation).toMatchObject({ messageCount: 3, lastMessage: "And you?" });
  });

  it("runs at once where the turn before it ended meanwhile", async () => {
    const first = await turns.begin(question(), true);
    const begun = await between(
      (tx) => postgresTurnWrites(over(tx), turns.writes).finish(ending(first)),
      () => turns.writes.begin(another(first.input), false),
    );
    expect(begun).toEqual({ value: { seq: 5, status: "in_progress", systemPrompt: null, stopped: [] } });
    expect(await turns.standing(first.input.conversationId)).toEqual({ said: 1, open: 1, running: 1 });
  });

  it("queues behind a turn that began meanwhile", async () => {
    const first = await turns.begin(question(), true);
    await turns.writes.finish(ending(first));
    const begun = await between(
      (tx) => postgresTurnWrites(over(tx), turns.writes).begin(another(first.input), false),
      () => turns.writes.begin(another(first.input), false),
    );
    expect(begun).toEqual({ value: { seq: 7, status: "queued", systemPrompt: null, stopped: [] } });
    expect(await turns.standing(first.input.conversationId)).toEqual({ said: 2, open: 2, running: 1 });
  });

  it.each(["status = 'ended'", "control = 'agent'", "user_id = 'somebody else'", "open_turns = 17"])(
    "does not begin where the conversation has meanwhile %s",
    async (change) => {
      const first = await turns.begin(question(), true);
      const { conversationId } = first.input;
      const begun = await between(
        (tx) => tx.unsafe(`update conversations set ${change} where id = $1`, [conversationId]),
        () => turns.writes.begin(another(first.input), false),
      );
      expect(begun).toEqual({ error: expect.toSatisfy(isConflict) });
      const { messages, turns: ledger } = await turns.stored(conversationId);
      expect([messages.length, ledger.length]).toEqual([2, 1]);
    },
  );

  it("does not begin where the conversation was deleted meanwhile", async () => {
    const first = await turns.begin(question(), true);
    const { conversationId } = first.input;
    const begun = await between(
      (tx) => tx`delete from conversations where id = ${conversationId}`,
      () => turns.writes.begin(another(first.input), false),
    );
    expect(begun).toEqual({ error: expect.toSatisfy(isConflict) });
    const { messages, turns: ledger } = await turns.stored(conversationId);
    expect([messages.length, ledger.length]).toEqual([0, 1]);
  });

  it("does not finish where the conversation was deleted meanwhile", async () => {
    const first = await turns.begin(question(), true);
    const { conversationId } = first.input;
    const finished = await between(
      (tx) => tx`delete from conversations where id = ${conversationId}`,
      () => turns.writes.finish(ending(first)),
    );
    expect(finished).toEqual({ error: expect.toSatisfy(isConflict) });
    const { messages, turns: ledger } = await turns.stored(conversationId);
    expect(messages).toEqual([]);
    expect(ledger).toMatchObject([{ status: "in_progress", completedAt: null }]);
  });

  it("does not finish, and changes nothing, where somebody else closed the turn meanwhile", async () => {
    const first = await turns.begin(question(), true);
    const { conversationId } = first.input;
    const theirs = ending(first, { status: "incomplete", content: "Theirs", preview: "Theirs", now: NOW + 1 });
    const finished = await between(
      (tx) => postgresTurnWrites(over(tx), turns.writes).finish(theirs),
      () => turns.writes.finish(ending(first)),
    );
    expect(finished).toEqual({ error: expect.toSatisfy(isConflict) });
    const { conversation, messages, turns: ledger } = await turns.stored(conversationId);
    expect(conversation).toMatchObject({ rev: 3, openTurns: 0, messageCount: 2, lastMessage: "Theirs" });
    expect(messages[1]).toMatchObject({ content: "Theirs", rev: 3 });
    expect(ledger).toMatchObject([{ status: "incomplete", completedAt: NOW + 1 }]);
  });

  it("does not finish a turn that was closed without the conversation's row", async () => {
    const first = await turns.begin(question(), true);
    const { conversationId, turnId } = first.input;
    const finished = await between(
      (tx) => tx`update turns set status = 'failed' where id = ${turnId}`,
      () => turns.writes.finish(ending(first)),
    );
    expect(finished).toEqual({ error: expect.toSatisfy(isConflict) });
    expect((await turns.stored(conversationId)).conversation).toMatchObject({ rev: 2, openTurns: 1, messageCount: 1 });
  });

  it("makes a new conversation once, where two instances make it at the same moment", async () => {
    const [mine, theirs] = [question({ userId: "ann" }), question({ userId: "bob" })];
    const { conversationId } = mine;
    const begun = await between(
      (tx) => postgresTurnWrites(over(tx), turns.writes).begin({ ...theirs, conversationId }, true),
      () => turns.writes.begin(mine, true),
    );
    expect(begun).toEqual({ error: expect.toSatisfy(isConflict) });
    const { conversation, turns: ledger } = await turns.stored(conversationId);
    expect(conversation?.userId).toBe("bob");
    expect(ledger.map(({ id }) => id)).toEqual([theirs.turnId]);
  });
});
