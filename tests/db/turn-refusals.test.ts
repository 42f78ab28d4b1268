import { eq } from "drizzle-orm";
import { describe, expect, it } from "vitest";
import { isConflict } from "../../src/db/db.ts";
import { QUEUE_LIMIT } from "../../src/db/turn-writes.ts";
import { refusal } from "../support/db-handles.ts";
import { nextId } from "../support/db-ids.ts";
import { another, ending, question } from "../support/db-questions.ts";
import { spellings, useTurns } from "../support/db-turns.ts";

// Ann's conversation, as others ask in it.
const scopes = [
  { self: "ann", sees: "own", owner: null, isLive: false, may: true },
  { self: "ann", sees: "own", owner: null, isLive: true, may: true },
  { self: "ann", sees: "own", owner: "ann", isLive: false, may: true },
  { self: "ann", sees: "own", owner: "bob", isLive: false, may: false },
  { self: "bob", sees: "own", owner: null, isLive: false, may: false },
  { self: "bob", sees: "own", owner: null, isLive: true, may: false },
  { self: "bob", sees: "own", owner: "ann", isLive: true, may: false },
  { self: "ann", sees: "live", owner: null, isLive: false, may: true },
  { self: "bob", sees: "live", owner: null, isLive: false, may: false },
  { self: "bob", sees: "live", owner: null, isLive: true, may: true },
  { self: "bob", sees: "live", owner: "ann", isLive: true, may: true },
  { self: "bob", sees: "live", owner: "ann", isLive: false, may: false },
  { self: "bob", sees: "live", owner: "bob", isLive: true, may: false },
  { self: "bob", sees: "all", owner: null, isLive: false, may: true },
  { self: "bob", sees: "all", owner: "ann", isLive: false, may: true },
  { self: "bob", sees: "all", owner: "bob", isLive: false, may: false },
  { self: "ann", sees: "all", owner: "bob", isLive: true, may: false },
  { self: "ann", sees: "all", owner: "", isLive: true, may: false },
  { self: "ANN", sees: "own", owner: null, isLive: false, may: false },
] as const;

describe.each(spellings)("a turn that may not begin ($spelling)", (spelling) => {
  const turns = useTurns(spelling);

  it.each(scopes)(
    "$self, who sees $sees, asking for $owner's (live: $isLive): $may",
    async ({ isLive, may, ...scope }) => {
      const { input } = await turns.begin(question({ userId: "ann" }), true);
      const { conversationId } = input;
      await turns.change(conversationId, { isLive });
      const next = another(input, { ...scope, userId: scope.self });
      if (!may) return turns.refused(conversationId, () => turns.begin(next));
      expect((await turns.begin(next)).begun.seq).toBe(4);
    },
  );

  it.each([{ status: "ended" }, { control: "queue" }, { control: "agent" }] as const)(
    "is refused, and nothing stored, in a conversation with %o",
    async (set) => {
      const { input } = await turns.begin(question(), true);
      await turns.change(input.conversationId, set);
      await turns.refused(input.conversationId, () => turns.begin(another(input)));
      await turns.refused(input.conversationId, () => turns.begin(another(input, { self: "root", sees: "all" })));
    },
  );

  it("is let in where the conversation was transferred and the assistant is in control", async () => {
    const { input } = await turns.begin(question(), true);
    await turns.change(input.conversationId, { status: "transferred" });
    expect((await turns.begin(another(input))).begun.seq).toBe(4);
  });

  it("is refused, and nothing stored, where 16 wait behind the running one, until one of them has ended", async () => {
    const first = await turns.begin(question(), true);
    const { conversationId } = first.input;
    for (let waiting = 0; waiting < 16; waiting++) {
      expect((await turns.begin(another(first.input))).begun.status).toBe("queued");
    }
    expect(QUEUE_LIMIT).toBe(16);
    await turns.refused(conversationId, () => turns.begin(another(first.input)));
    await turns.writes.finish(ending(first));
    expect((await turns.begin(another(first.input))).begun.status).toBe("queued");
    await turns.refused(conversationId, () => turns.begin(another(first.input)));
    expect(await turns.standing(conversationId)).toEqual({ said: 17, open: 17, running: 0 });
  });

  it("is refused, and nothing stored, where more ask at once than there is room for", async () => {
    const first = await turns.begin(question(), true);
    const { conversationId } = first.input;
    const inputs = Array.from({ length: 30 }, () => another(first.input));
    const outcomes = await Promise.allSettled(inputs.map((input) => turns.begin(input)));
    const refused = inputs.filter((_, i) => outcomes[i]?.status === "rejected");
    expect(refused).toHaveLength(14);
    for (const outcome of outcomes) if (outcome.status === "rejected") expect(outcome.reason).toSatisfy(isConflict);
    const { messages, turns: ledger } = await turns.stored(conversationId);
    expect([messages.length, ledger.length]).toEqual([34, 17]);
    for (const { turnId } of refused) expect(ledger.map(({ id }) => id)).not.toContain(turnId);
  });

  it("is refused in a conversation that is unknown, or was deleted", async () => {
    const unknown = question({ sees: "all" });
    await turns.refused(unknown.conversationId, () => turns.begin(unknown));
    const { input } = await turns.begin(question(), true);
    const t = turns.db.tables.conversations;
    await turns.db.delete(t).where(eq(t.id, input.conversationId));
    await turns.refused(input.conversationId, () => turns.begin(another(input)));
  });

  it("is refused where the new conversation's id is taken, also by somebody else", async () => {
    const { input } = await turns.begin(question(), true);
    const { conversationId } = input;
    await turns.refused(conversationId, () => turns.begin(question({ conversationId, sees: "all" }), true));
    await turns.refused(conversationId, () => turns.begin(another(input), true));
  });

  it.each(["questionId", "answerId", "turnId"] as const)(
    "is refused as a whole where its %s is taken",
    async (name) => {
      const { input } = await turns.begin(question(), true);
      const { conversationId } = input;
      await turns.refused(conversationId, () => turns.begin(another(input, { [name]: input[name] })));
      const fresh = question({ [name]: input[name] });
      await turns.refused(conversationId, () => turns.begin(fresh, true));
      expect(await turns.stored(fresh.conversationId)).toEqual({ conversation: undefined, messages: [], turns: [] });
    },
  );

  it("throws another error as itself, and stores nothing", async () => {
    const { input } = await turns.begin(question(), true);
    const before = await turns.stored(input.conversationId);
    const bad = another(input, { content: null as never, questionId: nextId() });
    expect(isConflict(await refusal(turns.begin(bad)))).toBe(false);
    expect(await turns.stored(input.conversationId)).toEqual(before);
  });
});
