import { describe, expect, it } from "vitest";
import type { ModelMessage } from "../../src/core/model.ts";
import { echo, echoReply } from "../../src/models/echo.ts";
import type { ProviderEvent } from "../../src/models/provider.ts";

const never = new AbortController().signal;

/** A conversation of what the user said, each answered. */
function conversation(...said: string[]): ModelMessage[] {
  const messages = said.flatMap((content): ModelMessage[] => [
    { role: "user", content },
    { role: "assistant", content: "Dragons are not to be recalled." },
  ]);
  return [{ role: "system", content: "Dragons neither." }, ...messages.slice(0, -1)];
}

const tell = (messages: ModelMessage[]) => Array.fromAsync(echo({ model: "echo", messages }, never));
const textOf = (events: ProviderEvent[]) => events.map((e) => (e.type === "delta" ? e.text : "")).join("");

describe("the offline model", () => {
  it.each([["Hello"], ["My cat is called Tom", "What is my cat called?"]])("says what it is: %j", (...said) => {
    expect(echoReply(conversation(...said))).toMatch(/offline model.*no provider is configured/);
  });

  it("repeats what it was told, and counts what was said before", () => {
    expect(echoReply(conversation("Hello there"))).toMatch(/“Hello there”.*first message/);
    expect(echoReply(conversation("One", "Two", "Three"))).toMatch(/“Three”.*2 messages/);
    expect(echoReply(conversation("One", "Two"))).toMatch(/“Two”.*one message before/);
  });

  it("recalls the earlier line that shares most words with the question", () => {
    const said = ["My cat is called Tom", "My dog is called Rex and barks", "The weather is fine"];
    expect(echoReply(conversation(...said, "Who barks, the dog?"))).toContain("“My dog is called Rex and barks”");
    expect(echoReply(conversation(...said, "What is the CAT called?"))).toContain("“My cat is called Tom”");
  });

  it("recalls words of any script, and of equals the newer line", () => {
    expect(echoReply(conversation("Меня зовут Аня", "Как меня зовут?"))).toContain("“Меня зовут Аня”");
    expect(echoReply(conversation("Tom is small", "Tom is big", "Tom?"))).toContain("“Tom is big”");
  });

  it("recalls nothing for words that every line shares, for its own words, nor for the same line again", () => {
    expect(echoReply(conversation("What are you doing with the cat?", "What are you and the others?"))).toContain(
      "You said",
    );
    expect(echoReply(conversation("Hello", "Where are dragons?"))).toContain("You said");
    expect(echoReply(conversation("Same words", "Same words"))).toContain("You said: “Same words”");
  });

  it("answers a conversation without a question too", () => {
    expect(echoReply([])).toContain("offline model");
  });

  it("streams its reply by words, and ends it", async () => {
    const messages = conversation("Tell me\n\n  a story   please");
    const events = await tell(messages);
    expect(textOf(events)).toBe(echoReply(messages));
    expect(events.filter((e) => e.type === "delta").length).toBeGreaterThan(5);
    expect(events.at(-1)).toEqual({ type: "end", finishReason: "stop" });
    expect(events.filter((e) => e.type !== "delta")).toHaveLength(1);
  });

  it("stops when it is aborted", async () => {
    const controller = new AbortController();
    const heard: ProviderEvent[] = [];
    for await (const event of echo({ model: "echo", messages: conversation("One two three") }, controller.signal)) {
      heard.push(event);
      controller.abort();
    }
    expect(heard).toEqual([expect.objectContaining({ type: "delta" }), { type: "failed", kind: "cancelled" }]);
  });
});
