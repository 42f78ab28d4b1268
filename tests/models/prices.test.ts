import { describe, expect, it } from "vitest";
import { parseConfig } from "../../src/config.ts";
import type { Attempt, Usage } from "../../src/core/model.ts";
import { spentOn } from "../../src/models/prices.ts";
import { createRegistry } from "../../src/models/registry.ts";
import { createTransport } from "../../src/models/transport.ts";

const KEYS = { OPENAI_API_KEY: "sk-1", GROQ_API_KEY: "gsk-1" };
const MILLION: Usage = { input_tokens: 1_000_000, output_tokens: 1_000_000, estimated: false };
const some = (input_tokens: number, output_tokens: number): Usage => ({ ...MILLION, input_tokens, output_tokens });

/** What a usage of a target costs with these variables. */
async function cost(target: string, usage: Usage, env: Record<string, string> = KEYS): Promise<number | null> {
  const configured = parseConfig(env);
  if ("problems" in configured) throw new Error(configured.problems.join("\n"));
  const registry = createRegistry(configured.config.models, createTransport());
  const { priceOf } = await registry.target(target, new AbortController().signal);
  return priceOf?.(usage) ?? null;
}

describe("a price", () => {
  it.each([
    { target: "groq/openai/gpt-oss-20b", usd: 0.375e-3 },
    { target: "groq/openai/gpt-oss-120b", usd: 0.75e-3 },
    { target: "openai/gpt-6-luna", usd: 0.6e-3 },
  ])("of $target for a thousand tokens each way is that of the kept table", async ({ target, usd }) => {
    expect(await cost(target, some(1_000, 1_000))).toBeCloseTo(usd, 9);
  });

  it("of a configured target is remembered, however many names requests make up", async () => {
    const configured = parseConfig(KEYS);
    if ("problems" in configured) throw new Error("no");
    const registry = createRegistry(configured.config.models, createTransport());
    const never = new AbortController().signal;
    for (let n = 0; n < 1_100; n++) await registry.target(`openai/made-up-${n}`, never);
    const first = await registry.target("openai/gpt-6-luna", never);
    const second = await registry.target("openai/gpt-6-luna", never);
    expect(second.priceOf).toBe(first.priceOf);
  });

  it("is looked up once, and right every time", async () => {
    const configured = parseConfig(KEYS);
    if ("problems" in configured) throw new Error("no");
    const registry = createRegistry(configured.config.models, createTransport());
    const never = new AbortController().signal;
    const first = await registry.target("openai/gpt-6-luna", never);
    const second = await registry.target("openai/gpt-6-luna", never);
    expect(second.priceOf).toBe(first.priceOf);
    expect(second.priceOf?.(some(2_000, 0))).toBeCloseTo(2 * (first.priceOf?.(some(1_000, 0)) ?? 0), 12);
  });

  it("of a model that nobody knows is null, not 0", async () => {
    expect(await cost("openai/made-up", MILLION)).toBeNull();
    expect(await cost("groq/made-up", MILLION)).toBeNull();
  });

  it("of the offline model is 0", async () => {
    expect(await cost("echo/echo", MILLION)).toBe(0);
  });

  it("of a vendor's model at another address is null: it may cost anything there", async () => {
    expect(await cost("openai/gpt-6-luna", MILLION, { OPENAI_BASE_URL: "http://127.0.0.1:9/v1" })).toBeNull();
    const groq = { GROQ_API_KEY: "gsk-1", GROQ_BASE_URL: "http://127.0.0.1:9" };
    expect(await cost("groq/openai/gpt-oss-20b", MILLION, groq)).toBeNull();
  });

  it("is what PRICES says, at every address", async () => {
    const PRICES = "openai/my-model=0.15/0.60; groq/openai/gpt-oss-20b=1/2;";
    expect(await cost("openai/my-model", MILLION, { ...KEYS, PRICES })).toBeCloseTo(0.75, 12);
    expect(
      await cost("openai/my-model", some(10, 0), { OPENAI_BASE_URL: "http://127.0.0.1:9/v1", PRICES }),
    ).toBeCloseTo(0.15e-5, 12);
    expect(await cost("groq/openai/gpt-oss-20b", MILLION, { ...KEYS, PRICES })).toBeCloseTo(3, 12);
  });

  it("may be 0, if PRICES says so", async () => {
    expect(await cost("openai/mine", MILLION, { ...KEYS, PRICES: "openai/mine=0/0" })).toBe(0);
  });

  it.each([
    "openai/m",
    "openai/m=1",
    "openai/m=1/",
    "openai/m=-1/2",
    "m=1/2",
    "openai/m=a/b",
    "openai/m=1/2,openai/n=1/2",
  ])("that reads %s stops the start", (PRICES) => {
    expect(parseConfig({ PRICES })).toEqual({ problems: [expect.stringMatching(/^PRICES: must look like/)] });
  });
});

describe("what a turn spent", () => {
  const attempt = (usage: Usage | null): Attempt => ({
    target: "a/b",
    outcome: "completed",
    status: 200,
    ms: 1,
    first_token_ms: 1,
    usage,
  });

  it("is the sum of the attempts that used tokens", () => {
    const attempts = [attempt(some(10, 1)), attempt(null), attempt(some(5, 2))];
    expect(spentOn(attempts, [0.5, 0.25])).toEqual({ usage: some(15, 3), cost: 0.75 });
  });

  it("is estimated if any of it is", () => {
    const attempts = [attempt(some(10, 1)), attempt({ ...some(5, 2), estimated: true })];
    expect(spentOn(attempts, [1, 1]).usage).toEqual({ ...some(15, 3), estimated: true });
  });

  it("has no known cost if any price is unknown", () => {
    expect(spentOn([attempt(some(1, 1)), attempt(some(1, 1))], [1, null]).cost).toBeNull();
  });

  it("is unknown where no attempt used any token", () => {
    expect(spentOn([attempt(null)], [])).toEqual({ usage: null, cost: null });
  });
});
