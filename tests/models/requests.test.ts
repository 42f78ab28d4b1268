import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import type { PlanOptions, Prompt } from "../../src/core/model.ts";
import { createDispatch } from "../../src/models/dispatch.ts";
import { createRegistry, type Registry } from "../../src/models/registry.ts";
import { createTransport, type Transport } from "../../src/models/transport.ts";
import { type Asked, type Provider, startProvider } from "../support/provider.ts";

const KEY = "sk-of-the-test";
const messages = [
  { role: "system", content: "Be brief." },
  { role: "user", content: 'Größe? 😀 "quoted" \u2028' },
  { role: "assistant", content: "42" },
  { role: "user", content: "Sure?" },
] as const;

let provider: Provider;
let transport: Transport;
beforeAll(async () => {
  provider = await startProvider();
  transport = createTransport();
});
afterAll(async () => {
  await transport.close();
  await provider.close();
});

function registryWith(apiKey: string | undefined): Registry {
  const groq = { apiKey: KEY, baseURL: provider.groqUrl };
  return createRegistry({ openai: { apiKey, baseURL: provider.openaiUrl }, groq, aliases: new Map() }, transport);
}

/** What a turn with these options puts on the wire. */
async function dispatchTo(name: string, options: PlanOptions): Promise<Asked> {
  const registry = registryWith(KEY);
  const timeouts = { firstToken: 10_000, lastFirstToken: 10_000, idle: 10_000, total: 10_000 };
  const prompt: Prompt = { messages: [...messages], report: { messages: 3, omitted: 0, estimated_tokens: 5 } };
  const { signal } = new AbortController();
  await Array.fromAsync(createDispatch(registry, timeouts)(registry.plan(name, options), () => prompt, signal));
  return lastAsked();
}

function lastAsked(): Asked {
  const sent = provider.asked.at(-1);
  if (!sent) throw new Error("nothing was asked");
  return sent;
}

/** What one call to a target puts on the wire. */
async function sentTo(name: string, apiKey: string | undefined = KEY): Promise<Asked> {
  const registry = registryWith(apiKey);
  const { signal } = new AbortController();
  const target = await registry.target(name, signal);
  await Array.fromAsync(target.provider({ model: target.model, messages }, signal));
  return lastAsked();
}

describe("what OpenAI is sent", () => {
  it("is the model, the messages, a stream and its usage, and no more", async () => {
    const { path, authorization, body } = await sentTo("openai/gpt-6-luna");
    expect(path).toBe("/v1/chat/completions");
    expect(authorization).toBe(`Bearer ${KEY}`);
    expect(body).toEqual({ model: "gpt-6-luna", messages, stream: true, stream_options: { include_usage: true } });
  });

  it("does not take a key from the environment for a server that needs none", async () => {
    vi.stubEnv("OPENAI_API_KEY", "sk-from-elsewhere");
    expect(JSON.stringify((await sentTo("openai/a", undefined)).headers)).not.toContain("sk-from-elsewhere");
  });
});

describe("what Groq is sent", () => {
  it("is the model, the messages and a stream, and no more", async () => {
    const { path, authorization, body } = await sentTo("groq/openai/gpt-oss-20b");
    expect(path).toBe("/openai/v1/chat/completions");
    expect(authorization).toBe(`Bearer ${KEY}`);
    expect(body).toEqual({ model: "openai/gpt-oss-20b", messages, stream: true });
  });
});

it.each(["openai/a", "groq/a"])("what %s is sent depends on no variable that its client knows", async (target) => {
  vi.stubEnv("OPENAI_ORG_ID", "marker-org");
  vi.stubEnv("OPENAI_PROJECT_ID", "marker-project");
  vi.stubEnv("OPENAI_ADMIN_KEY", "marker-admin");
  vi.stubEnv("OPENAI_CUSTOM_HEADERS", "X-Custom: marker-header");
  vi.stubEnv("GROQ_CUSTOM_HEADERS", "X-Custom: marker-header");
  expect(JSON.stringify((await sentTo(target)).headers)).not.toContain("marker");
});

describe("options are sent as the model wants them:", () => {
  it.each([
    { name: "openai/gpt-6-luna", sent: { max_completion_tokens: 50 } },
    { name: "openai/llama3", sent: { temperature: 0.2, max_tokens: 50 } },
    { name: "groq/openai/gpt-oss-20b", sent: { temperature: 0.2, max_completion_tokens: 50 } },
  ])("$name", async ({ name, sent }) => {
    const plain = (await sentTo(name)).body;
    const { body } = await dispatchTo(name, { temperature: 0.2, maxTokens: 50 });
    expect(body).toEqual({ ...plain, ...sent });
  });
});

describe("a server that refuses stream_options", () => {
  const refusing =
    (error: unknown) =>
    ({ body }: Asked) =>
      body["stream_options"] === undefined ? { text: ["Hi"] } : { status: 400, error };

  async function sendTwice(error: unknown): Promise<number> {
    const target = await registryWith(KEY).target("openai/a-model", new AbortController().signal);
    provider.asked.length = 0;
    provider.behave(refusing(error));
    for (let i = 0; i < 2; i++) {
      const events = await Array.fromAsync(
        target.provider({ model: "a-model", messages }, new AbortController().signal),
      );
      expect(events.at(-1)).toEqual({ type: "end", finishReason: "stop" });
    }
    provider.behave(() => ({}));
    return provider.asked.length;
  }

  it.each([
    { what: "by its name", error: { error: { message: "Unrecognized request argument supplied: stream_options" } } },
    { what: "as a field", error: { detail: [{ loc: ["body", "stream_options"], msg: "extra fields not permitted" }] } },
    { what: "without saying what it refuses", error: { error: { message: "Bad request" } } },
  ])("$what is asked without them, at once and from then on", async ({ error }) => {
    expect(await sendTwice(error)).toBe(3);
  });

  it("is not asked again where it refuses something else", async () => {
    const target = await registryWith(KEY).target("openai/a-model", new AbortController().signal);
    provider.asked.length = 0;
    provider.behave(() => ({ status: 400, error: { error: { message: "no", param: "temperature" } } }));
    const call = Array.fromAsync(target.provider({ model: "a-model", messages }, new AbortController().signal));
    await expect(call).rejects.toMatchObject({ status: 400 });
    provider.behave(() => ({}));
    expect(provider.asked).toHaveLength(1);
  });
});
