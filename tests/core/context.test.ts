import { describe, expect, it } from "vitest";
import { buildPrompt, messageTokens, promptBudget, type Shown } from "../../src/core/context.ts";
import type { ModelMessage } from "../../src/core/model.ts";
import { pick, type Random, randomFrom, stringOf } from "../support/core-random.ts";

const says = (role: Shown["role"], content: string, senderId: string | null = null): Shown => ({
  role,
  senderId,
  content,
});

/** A prompt of messages that are given oldest first, as they are read. */
const promptOf = (messages: Shown[], { systemPrompt = null as string | null, window = 8_192, older = 0 } = {}) =>
  buildPrompt(messages.toReversed(), { systemPrompt, window, older });

/** A window whose budget is exactly so many tokens. */
function windowFor(tokens: number): number {
  let window = tokens;
  while (promptBudget(window) < tokens) window++;
  return window;
}

const tokensOf = (messages: readonly { content: string }[]) =>
  messages.reduce((sum, { content }) => sum + messageTokens(content), 0);

const thread = [
  says("user", "My name is Ada."),
  says("assistant", "Hello Ada."),
  says("user", "I like chess."),
  says("assistant", "So do I."),
  says("user", "What do I like?"),
];

describe("what the model is shown", () => {
  it("is the whole thread in order, where it fits", () => {
    const { messages, report } = promptOf(thread);
    expect(messages).toEqual(thread.map(({ role, content }) => ({ role, content })));
    expect(report).toEqual({ messages: 5, omitted: 0, estimated_tokens: tokensOf(thread) });
  });

  it("begins with the system prompt", () => {
    const { messages, report } = promptOf(thread, { systemPrompt: "Be brief." });
    expect(messages[0]).toEqual({ role: "system", content: "Be brief." });
    expect(messages).toHaveLength(6);
    expect(report.estimated_tokens).toBe(tokensOf(thread) + messageTokens("Be brief."));
  });

  it("is the newest that fit, whole, and always the system prompt", () => {
    const systemPrompt = "Be brief.";
    const window = windowFor(tokensOf([...thread.slice(2), { content: systemPrompt }]));
    const { messages, report } = promptOf(thread, { systemPrompt, window, older: 40 });
    expect(messages.map(({ content }) => content)).toEqual([
      systemPrompt,
      "I like chess.",
      "So do I.",
      "What do I like?",
    ]);
    expect(report).toEqual({ messages: 3, omitted: 42, estimated_tokens: promptBudget(window) });
  });

  it("has no gaps: nothing older is shown than the first that does not fit", () => {
    const long = says("user", "long ".repeat(200));
    const { messages, report } = promptOf([says("user", "short"), says("assistant", "ok"), long, ...thread.slice(3)], {
      window: windowFor(60),
    });
    expect(messages.map(({ content }) => content)).toEqual(["What do I like?"]);
    expect(report.omitted).toBeGreaterThanOrEqual(3);
  });

  it("is refused with context_too_long where the question alone does not fit, to the token", () => {
    const question = says("user", "x".repeat(400));
    const window = windowFor(messageTokens(question.content));
    expect(promptOf([...thread, question], { window }).messages).toHaveLength(1);
    for (const tooLong of [says("user", "x".repeat(404)), says("user", "中".repeat(400))]) {
      expect(() => promptOf([...thread, tooLong], { window })).toThrow(
        expect.objectContaining({ code: "context_too_long" }),
      );
    }
    expect(() => promptOf([question], { window, systemPrompt: "Be brief." })).toThrow(
      expect.objectContaining({ code: "context_too_long" }),
    );
  });

  it("keeps part of the window for the answer", () => {
    expect(promptBudget(8_192)).toBe(6_144);
    expect(promptBudget(131_072)).toBe(131_072 - 4_096);
  });
});

describe("the roles that the model is shown alternate", () => {
  it("two messages of the user in a row are one", () => {
    const { messages } = promptOf([says("user", "One"), says("user", "two"), says("user", "three")]);
    expect(messages).toEqual([{ role: "user", content: "One\n\ntwo\n\nthree" }]);
  });

  it("an answer whose question is not shown is left out, and counted as left out", () => {
    const { messages, report } = promptOf(thread.slice(1));
    expect(messages.map(({ content }) => content)).toEqual(["I like chess.", "So do I.", "What do I like?"]);
    expect(report).toMatchObject({ messages: 3, omitted: 1 });
  });

  it("an answer whose question is not shown is left out also where a system message stands before it", () => {
    const { messages } = promptOf([says("system", "The session was handed back."), ...thread.slice(1)]);
    expect(messages.find(({ role }) => role !== "system")?.role).toBe("user");
  });

  it("an agent's words count as the assistant's, with the agent's name", () => {
    const { messages } = promptOf([
      says("user", "Help!"),
      says("assistant", "I fetch somebody."),
      says("agent", "Here I am.", "eve"),
      says("agent", "What is it?"),
      says("user", "It is late."),
    ]);
    expect(messages).toEqual([
      { role: "user", content: "Help!" },
      { role: "assistant", content: "I fetch somebody.\n\neve: Here I am.\n\nagent: What is it?" },
      { role: "user", content: "It is late." },
    ]);
  });

  it("whatever the thread", () => {
    forRandomThreads(11, ({ messages }) => {
      const roles = messages.filter(({ role }) => role !== "system").map(({ role }) => role);
      expect(roles[0]).toBe("user");
      expect(roles.at(-1)).toBe("user");
      for (const [i, role] of roles.entries()) expect(role).toBe(i % 2 === 0 ? "user" : "assistant");
    });
  });
});

describe("the budget", () => {
  it("is never exceeded by the estimate, and what is left out is counted, whatever the thread", () => {
    forRandomThreads(12, ({ report, budget, total }) => {
      expect(report.estimated_tokens).toBeLessThanOrEqual(budget);
      expect(report.messages + report.omitted).toBe(total);
    });
  });

  it("is never exceeded by what is really sent, whatever the thread", () => {
    forRandomThreads(13, ({ messages, report, budget }) => {
      expect(tokensOf(messages)).toBeLessThanOrEqual(budget);
      expect(tokensOf(messages)).toBeLessThanOrEqual(report.estimated_tokens);
    });
  });
});

type Built = ReturnType<typeof buildPrompt> & { messages: ModelMessage[]; budget: number; total: number };

function forRandomThreads(seed: number, check: (built: Built) => void): void {
  const random = randomFrom(seed);
  for (let i = 0; i < 1_000; i++) {
    const older = random(3) * 100;
    const window = 20 + random(600);
    const systemPrompt = pick(random, [null, "Be brief.", "中".repeat(30)]);
    const messages = [...Array.from({ length: random(30) }, () => randomMessage(random)), says("user", "And now?")];
    const budget = promptBudget(window);
    if (messageTokens("And now?") + (systemPrompt ? messageTokens(systemPrompt) : 0) > budget) continue;
    check({ ...promptOf(messages, { systemPrompt, window, older }), budget, total: messages.length + older });
  }
}

const randomMessage = (random: Random): Shown =>
  says(
    pick(random, ["user", "assistant", "agent"]),
    stringOf(random, ["a", "word ", "中", "🎉", "\n"], 60) || "x",
    pick(random, [null, "eve", "an agent with quite a long name of its own"]),
  );
