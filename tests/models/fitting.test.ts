import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AppError } from "../../src/core/errors.ts";
import type { Prompt } from "../../src/core/model.ts";
import { createDispatch } from "../../src/models/dispatch.ts";
import { createRegistry, type Registry } from "../../src/models/registry.ts";
import { createTransport, type Transport } from "../../src/models/transport.ts";
import { type Provider, startProvider } from "../support/provider.ts";

const timeouts = { firstToken: 60_000, lastFirstToken: 60_000, idle: 60_000, total: 60_000 };
const never = new AbortController().signal;
const prompt: Prompt = {
  messages: [{ role: "user", content: "Hello" }],
  report: { messages: 1, omitted: 3, estimated_tokens: 5 },
};

let provider: Provider;
let transport: Transport;
let registry: Registry;
beforeAll(async () => {
  provider = await startProvider();
  transport = createTransport();
  const openai = { apiKey: "key", baseURL: provider.openaiUrl };
  registry = createRegistry({ openai, groq: null, aliases: new Map() }, transport);
});
afterAll(async () => {
  await transport.close();
  await provider.close();
});

describe("a dispatch", () => {
  it("has the conversation fitted to the window of its target, and reports how", async () => {
    const windows: number[] = [];
    const fit = (window: number) => {
      windows.push(window);
      return prompt;
    };
    const events = await Array.fromAsync(
      createDispatch(registry, timeouts)(registry.plan("openai/gpt-6-sol"), fit, never),
    );
    expect(windows).toEqual([128_000]);
    expect(events.at(-1)).toMatchObject({ type: "end", context: prompt.report });
  });

  it("fails as context_too_long without asking anybody where the question alone does not fit", async () => {
    const asked = provider.asked.length;
    const tooLong = () => {
      throw new AppError("context_too_long", "The message alone is too long.");
    };
    const events = await Array.fromAsync(
      createDispatch(registry, timeouts)(registry.plan("openai/gpt-6-sol"), tooLong, never),
    );
    const error = { code: "context_too_long", detail: "The message alone is too long." };
    expect(events).toEqual([
      {
        type: "failed",
        error,
        target: null,
        usage: null,
        cost: null,
        attempts: [],
        context: null,
        waitedMs: expect.any(Number),
      },
    ]);
    expect(provider.asked.length).toBe(asked);
  });

  it("closes its connection when whoever listens stops listening", async () => {
    provider.behave(() => ({ text: ["Once upon"], afterwards: "stall" }));
    const left = provider.left();
    for await (const event of createDispatch(registry, timeouts)(registry.plan("openai/a"), () => prompt, never)) {
      expect(event).toEqual({ type: "delta", text: "Once upon" });
      break;
    }
    await expect.poll(provider.left).toBe(left + 1);
    await expect.poll(provider.busy).toBe(0);
  });

  it("asks nobody where its turn was cancelled before it began", async () => {
    const asked = provider.asked.length;
    const aborted = AbortSignal.abort();
    const events = await Array.fromAsync(
      createDispatch(registry, timeouts)(registry.plan("openai/a"), () => prompt, aborted),
    );
    expect(events.at(-1)).toMatchObject({ type: "failed", error: { code: "turn_cancelled" } });
    expect(provider.asked.length).toBe(asked);
  });
});
