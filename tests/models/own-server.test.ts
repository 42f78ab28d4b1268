import { afterEach, beforeEach, expect, it, vi } from "vitest";
import type { DispatchEvent, Prompt } from "../../src/core/model.ts";
import { createDispatch, type Timeouts } from "../../src/models/dispatch.ts";
import { createRegistry, type Registry } from "../../src/models/registry.ts";
import { createTransport, type Transport } from "../../src/models/transport.ts";
import { type Provider, startProvider } from "../support/provider.ts";

// An OpenAI-compatible server of one's own, without a key and without MODELS: Ollama, vLLM, LM Studio.

const prompt = (): Prompt => ({
  messages: [{ role: "user", content: "Hello" }],
  report: { messages: 1, omitted: 0, estimated_tokens: 5 },
});

const never = new AbortController().signal;

let provider: Provider;
let transport: Transport;
let registry: Registry;
beforeEach(async () => {
  provider = await startProvider();
  transport = createTransport();
  const openai = { apiKey: undefined, baseURL: provider.openaiUrl };
  registry = createRegistry({ openai, groq: null, aliases: new Map() }, transport);
});
afterEach(async () => {
  await provider.close();
  await transport.close();
});

/** How a turn of that model ends. */
async function ask(model?: string, signal = never, set: Partial<Timeouts> = {}): Promise<DispatchEvent | undefined> {
  const timeouts = { firstToken: 10_000, lastFirstToken: 10_000, idle: 10_000, total: 10_000, ...set };
  const dispatch = createDispatch(registry, timeouts, { random: () => 0 });
  const events = await Array.fromAsync(dispatch(registry.plan(model), prompt, signal));
  return events.at(-1);
}

const portOf = (url: string) => Number(new URL(url).port);

it.each(["fast", "balanced", "smart"])(
  "answers %s with the first model that it lists, under its real name",
  async (alias) => {
    provider.list(["org/some-model:7b", "another"]);
    expect(await ask(alias)).toMatchObject({
      type: "end",
      target: "openai/org/some-model:7b",
      attempts: [{ target: "openai/org/some-model:7b", outcome: "completed" }],
    });
    expect(provider.asked.map(({ body }) => body.model)).toEqual(["org/some-model:7b"]);
  },
);

it("takes any other of its models by name", async () => {
  expect(await ask("openai/other-model")).toMatchObject({ type: "end", target: "openai/other-model" });
});

it("that is not up fails the turn as unreachable, and answers the next one once it is", async () => {
  await provider.close();
  expect(await ask()).toMatchObject({ type: "failed", error: { code: "provider_unavailable" } });
  provider = await startProvider(portOf(provider.openaiUrl));
  expect(await ask()).toMatchObject({ type: "end", target: "openai/local-model" });
});

it.each<{ what: string; listed: string[] | "failure"; code: string; attempt: object }>([
  {
    what: "cannot list its models",
    listed: "failure",
    code: "provider_unavailable",
    attempt: { outcome: "overloaded", status: 500 },
  },
  { what: "has no model", listed: [], code: "provider_failed", attempt: { outcome: "model_gone", status: null } },
])("that $what fails the turn, and answers the next one once it has one", async ({ listed, code, attempt }) => {
  provider.list(listed);
  const last = await ask();
  expect(last).toMatchObject({ type: "failed", error: { code } });
  expect(last).toHaveProperty("attempts.0", expect.objectContaining({ target: "openai/*", usage: null, ...attempt }));
  provider.list(["late-model"]);
  expect(await ask()).toMatchObject({ type: "end", target: "openai/late-model" });
});

it("that does not list its models in time lets a turn be cancelled meanwhile", async () => {
  provider.list("nothing");
  const controller = new AbortController();
  const last = ask("balanced", controller.signal);
  await expect.poll(() => provider.lists.length).toBe(1);
  controller.abort();
  expect(await last).toMatchObject({ type: "failed", error: { code: "turn_cancelled" } });
});

it("that does not list its models in time is silent like any other", async () => {
  provider.list("nothing");
  expect(await ask("balanced", never, { lastFirstToken: 200 })).toMatchObject({
    type: "failed",
    error: { code: "provider_timeout" },
    attempts: [{ target: "openai/*", outcome: "timeout_headers", status: null }],
  });
});

it("is asked again for its models once the first one is gone", async () => {
  expect(await ask()).toMatchObject({ type: "end", target: "openai/local-model" });
  provider.list(["new-model"]);
  provider.behave(({ body }) => (body.model === "new-model" ? {} : { status: 404 }));
  expect(await ask()).toMatchObject({
    type: "failed",
    attempts: [{ target: "openai/local-model", outcome: "model_gone" }],
  });
  expect(await ask()).toMatchObject({ type: "end", target: "openai/new-model" });
});

it("is asked for its models with nothing from the environment", async () => {
  vi.stubEnv("OPENAI_API_KEY", "marker-key");
  vi.stubEnv("OPENAI_ORG_ID", "marker-org");
  vi.stubEnv("OPENAI_CUSTOM_HEADERS", "X-Custom: marker-header");
  await ask();
  expect(provider.lists).toHaveLength(1);
  expect(JSON.stringify(provider.lists)).not.toContain("marker");
});

it("is asked for its models once, not for every turn", async () => {
  for (const model of ["fast", "smart", "balanced"]) await ask(model);
  expect(provider.lists).toHaveLength(1);
});
