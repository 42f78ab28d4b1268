import { describe, expect, it } from "vitest";
import type { ModelMessage, PlanOptions } from "../../src/core/model.ts";
import { capabilitiesOf, requestFor } from "../../src/models/capabilities.ts";

const conversation: ModelMessage[] = [
  { role: "system", content: "Be brief." },
  { role: "user", content: "Hello" },
  { role: "assistant", content: "Hi" },
  { role: "user", content: "Who?" },
];
const report = { messages: 3, omitted: 0, estimated_tokens: 100 };

function request(target: string, options?: PlanOptions, messages = conversation) {
  return requestFor({ model: "m", capabilities: capabilitiesOf(target) }, { messages, report }, options);
}

it.each([
  { target: "openai/gpt-6-luna", temperature: false, tokenLimit: "max_completion_tokens", window: 128_000 },
  { target: "openai/gpt-6-sol", temperature: false, tokenLimit: "max_completion_tokens", window: 128_000 },
  { target: "openai/gpt-5.6-luna", temperature: false, tokenLimit: "max_completion_tokens", window: 128_000 },
  { target: "openai/gpt-5", temperature: false, tokenLimit: "max_completion_tokens", window: 128_000 },
  { target: "openai/gpt-12", temperature: false, tokenLimit: "max_completion_tokens", window: 128_000 },
  { target: "openai/o3", temperature: false, tokenLimit: "max_completion_tokens", window: 128_000 },
  { target: "openai/gpt-5-chat-latest", temperature: true, tokenLimit: "max_completion_tokens", window: 128_000 },
  { target: "openai/gpt-4.1-mini", temperature: true, tokenLimit: "max_completion_tokens", window: 128_000 },
  { target: "openai/llama3:8b", temperature: true, tokenLimit: "max_tokens", window: 32_768 },
  {
    target: "groq/openai/gpt-oss-20b",
    temperature: true,
    tokenLimit: "max_completion_tokens",
    window: 131_072,
    n: false,
  },
  {
    target: "groq/qwen/qwen3.6-27b",
    temperature: true,
    tokenLimit: "max_completion_tokens",
    window: 131_072,
    n: false,
  },
  { target: "echo/echo", window: 32_768 },
])("$target: $window tokens, temperature $temperature, $tokenLimit", ({ target, ...expected }) => {
  expect(capabilitiesOf(target)).toMatchObject(expected);
});

describe("a request", () => {
  it("has what was asked for where the model takes it", () => {
    expect(request("openai/llama3", { temperature: 0.2, maxTokens: 50 })).toEqual({
      model: "m",
      messages: conversation,
      temperature: 0.2,
      maxTokens: 50,
    });
  });

  it("has a temperature of 0 too", () => {
    expect(request("groq/openai/gpt-oss-20b", { temperature: 0 }).temperature).toBe(0);
  });

  it("has nothing that was not asked for", () => {
    for (const options of [undefined, {}, { temperature: undefined, maxTokens: undefined }]) {
      expect(request("openai/llama3", options)).toEqual({ model: "m", messages: conversation });
    }
  });

  it("has no temperature where the model refuses it", () => {
    expect(request("openai/gpt-6-luna", { temperature: 0.2, maxTokens: 50 })).toEqual({
      model: "m",
      messages: conversation,
      maxTokens: 50,
    });
  });

  it("asks for no longer an answer than the window has room for", () => {
    expect(request("openai/llama3", { maxTokens: 100_000 }).maxTokens).toBe(32_768 - 100);
  });

  it.each(["openai/google/gemma-2-9b-it", "groq/gemma-2-9b", "openai/mistralai/Mistral-7B-Instruct-v0.2"])(
    "of %s has the system prompt in its first user message",
    (target) => {
      expect(request(target).messages).toEqual([
        { role: "user", content: "Be brief.\n\nHello" },
        { role: "assistant", content: "Hi" },
        { role: "user", content: "Who?" },
      ]);
      const bare = conversation.slice(1);
      expect(request(target, {}, bare).messages).toEqual(bare);
    },
  );

  it("leaves the conversation as it was", () => {
    const before = structuredClone(conversation);
    request("openai/google/gemma-2-9b-it");
    expect(conversation).toEqual(before);
  });
});
