import { afterEach, beforeEach, expect, it } from "vitest";
import { createRegistry, type Registry } from "../../src/models/registry.ts";
import { createTransport, type Transport } from "../../src/models/transport.ts";
import { createWindows } from "../../src/models/windows.ts";
import { startWindowServer, type WindowServer } from "../support/window-server.ts";

const TARGET = "openai/my-model";

let server: WindowServer;
let transport: Transport;
beforeEach(async () => {
  server = await startWindowServer();
  transport = createTransport();
});
afterEach(async () => {
  await transport.close();
  await server.close();
});

function registryFor(windows = new Map<string, number>()): Registry {
  const openai = { apiKey: undefined, baseURL: server.url };
  return createRegistry({ openai, groq: null, aliases: new Map(), windows }, transport);
}

const listed = (more: object = {}) => ({ data: [{ id: "my-model", ...more }] });

it.each([
  { server: "vLLM", answers: { "/v1/models": listed({ max_model_len: 40_960 }) } },
  { server: "Groq", answers: { "/v1/models": listed({ context_window: 40_960 }) } },
  { server: "OpenRouter", answers: { "/v1/models": listed({ context_length: 40_960 }) } },
  { server: "Mistral", answers: { "/v1/models": listed({ max_context_length: 40_960 }) } },
  {
    server: "LM Studio",
    answers: {
      "/v1/models": listed(),
      "/api/v0/models": listed({ max_context_length: 131_072, loaded_context_length: 40_960 }),
    },
  },
  {
    server: "Ollama",
    answers: { "/v1/models": listed(), "/api/ps": { models: [{ name: "my-model:latest", context_length: 40_960 }] } },
  },
  {
    server: "llama.cpp",
    answers: { "/v1/models": listed(), "/props": { default_generation_settings: { n_ctx: 40_960 } } },
  },
])("$server tells how large its model's window is", async ({ answers }) => {
  server.answer(answers);
  const registry = registryFor();
  registry.askWindows();
  await expect.poll(() => registry.windowOf(TARGET)).toBe(40_960);
});

it.each([
  { what: "that tells nothing", answers: { "/v1/models": listed() } },
  { what: "that tells nonsense", answers: { "/v1/models": listed({ max_model_len: "large" }), "/props": "none" } },
  { what: "that cannot list its models", answers: {} },
])("of a server $what the window stays a guess", async ({ answers }) => {
  server.answer(answers);
  const registry = registryFor();
  registry.askWindows();
  await expect.poll(() => server.isDone()).toBe(true);
  expect([registry.windowOf(TARGET), registry.windows.isKnown(TARGET)]).toEqual([32_768, false]);
});

it("what MODEL_WINDOWS says stands before what the server says", async () => {
  server.answer({
    "/v1/models": {
      data: [
        { id: "my-model", max_model_len: 40_960 },
        { id: "other", max_model_len: 4_096 },
      ],
    },
  });
  const registry = registryFor(new Map([[TARGET, 100_000]]));
  registry.askWindows();
  await expect.poll(() => registry.windowOf("openai/other")).toBe(4_096);
  expect(registry.windowOf(TARGET)).toBe(100_000);
});

it("a refusal is believed before all else, and shrinks the window every time", () => {
  const windows = createWindows(new Map([[TARGET, 100_000]]));
  windows.learn(TARGET, { estimated: 50_000, measure: { window: 8_192, prompt: null } });
  expect(windows.windowOf(TARGET)).toBe(8_192);
  windows.learn(TARGET, { estimated: 6_000, measure: { window: 8_192, prompt: 9_000 } }); // our count was too low
  expect(windows.windowOf(TARGET)).toBe(5_461);
  windows.learn(TARGET, { estimated: 4_000, measure: undefined });
  expect(windows.windowOf(TARGET)).toBe(2_800);
  windows.learn(TARGET, { estimated: 10, measure: undefined });
  expect(windows.windowOf(TARGET)).toBe(512);
});

it("remembers a bounded number of models, since requests name them", () => {
  const windows = createWindows(new Map());
  for (let n = 0; n < 2_000; n++) windows.learn(`openai/${n}`, { estimated: 5_000, measure: undefined });
  expect([windows.isKnown("openai/0"), windows.isKnown("openai/1999")]).toEqual([true, false]);
});
