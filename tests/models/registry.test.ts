import { describe, expect, it } from "vitest";
import { parseConfig } from "../../src/config.ts";
import { createRegistry, type Registry } from "../../src/models/registry.ts";
import { createTransport } from "../../src/models/transport.ts";
import { startApp } from "../support/app.ts";
import { databases } from "../support/databases.ts";
import { startProvider } from "../support/provider.ts";

const OPENAI = { OPENAI_API_KEY: "sk-1" };
const GROQ = { GROQ_API_KEY: "gsk-1" };
const RUNPOD = { RUNPOD_API_KEY: "rpa-1", RUNPOD_ENDPOINT_ID: "abc123" };
const never = new AbortController().signal;
const OWN = { OPENAI_BASE_URL: "http://127.0.0.1:9/v1" };

/** The models that these variables make usable; nothing is asked of anybody here. */
function registryFor(env: Record<string, string>): Registry {
  const configured = parseConfig(env);
  if ("problems" in configured) throw new Error(configured.problems.join("\n"));
  return createRegistry(configured.config.models, createTransport());
}

const aliasesFor = (env: Record<string, string>) =>
  Object.fromEntries(
    registryFor(env)
      .list()
      .aliases.map(({ alias, targets }) => [alias, targets.map(({ target }) => target)]),
  );

describe("the aliases mean", () => {
  it.each([
    { keys: "no key", env: {}, fast: ["echo/echo"], balanced: ["echo/echo"], smart: ["echo/echo"] },
    {
      keys: "OpenAI's key",
      env: OPENAI,
      fast: ["openai/gpt-6-luna"],
      balanced: ["openai/gpt-6-luna"],
      smart: ["openai/gpt-6-sol"],
    },
    {
      keys: "Groq's key",
      env: GROQ,
      fast: ["groq/openai/gpt-oss-20b"],
      balanced: ["groq/openai/gpt-oss-120b"],
      smart: ["groq/openai/gpt-oss-120b"],
    },
    {
      keys: "both keys",
      env: { ...OPENAI, ...GROQ },
      fast: ["groq/openai/gpt-oss-20b", "openai/gpt-6-luna"],
      balanced: ["openai/gpt-6-luna", "groq/openai/gpt-oss-120b"],
      smart: ["openai/gpt-6-sol", "groq/openai/gpt-oss-120b"],
    },
    {
      keys: "RunPod's key",
      env: RUNPOD,
      fast: ["runpod/abc123"],
      balanced: ["runpod/abc123"],
      smart: ["runpod/abc123"],
    },
    {
      keys: "all keys",
      env: { ...RUNPOD, ...OPENAI, ...GROQ },
      fast: ["groq/openai/gpt-oss-20b", "openai/gpt-6-luna", "runpod/abc123"],
      balanced: ["openai/gpt-6-luna", "groq/openai/gpt-oss-120b", "runpod/abc123"],
      smart: ["openai/gpt-6-sol", "groq/openai/gpt-oss-120b", "runpod/abc123"],
    },
  ])("with $keys: fast $fast, balanced $balanced, smart $smart", ({ env, fast, balanced, smart }) => {
    expect(aliasesFor(env)).toEqual({ fast, balanced, smart });
  });

  it("the vendor's own models also where its address is spelt out", () => {
    const env = { ...OPENAI, OPENAI_BASE_URL: "https://api.openai.com/v1/" };
    expect(aliasesFor(env)).toEqual(aliasesFor(OPENAI));
  });

  it("RunPod's endpoint also under the name of its model", () => {
    const env = { ...RUNPOD, MODELS: "smart=runpod/org/a-model" };
    expect(registryFor(env).plan("smart")).toMatchObject({ targets: ["runpod/org/a-model"] });
  });

  it("what MODELS says, and for the others what they meant before", () => {
    const env = { ...OPENAI, ...GROQ, MODELS: "smart=groq/a/b, openai/c;  quick=echo/echo" };
    expect(aliasesFor(env)).toEqual({
      ...aliasesFor({ ...OPENAI, ...GROQ }),
      smart: ["groq/a/b", "openai/c"],
      quick: ["echo/echo"],
    });
  });
});

describe("a plan", () => {
  it("is for balanced where no model is named", () => {
    expect(registryFor(GROQ).plan(undefined)).toMatchObject({
      model: "balanced",
      targets: ["groq/openai/gpt-oss-120b"],
    });
  });

  it("leaves out the targets that no key makes usable, in order", () => {
    const registry = registryFor({ ...GROQ, MODELS: "fast=openai/a,groq/b,echo/echo" });
    expect(registry.plan("fast")).toMatchObject({ model: "fast", targets: ["groq/b", "echo/echo"] });
  });

  it("takes a provider and a model of any name", () => {
    expect(registryFor(GROQ).plan("groq/openai/gpt-oss-20b").targets).toEqual(["groq/openai/gpt-oss-20b"]);
    expect(registryFor(OWN).plan("openai/org/model:7b@q4").targets).toEqual(["openai/org/model:7b@q4"]);
    expect(registryFor({}).plan("echo/echo").targets).toEqual(["echo/echo"]);
  });

  it.each(["nonsense", "openai/gpt-6-luna", "azure/gpt", "groq/", "/model", "/", "", "Balanced", "constructor"])(
    "for %j, which is not usable, is refused with the names of those that are",
    (model) => {
      const registry = registryFor({ ...GROQ, MODELS: "quick=groq/a;lost=openai/b" });
      const usable = "model: must be one of fast, balanced, smart, quick, echo/…, groq/…";
      expect(() => registry.plan(model)).toThrow(
        expect.objectContaining({ code: "validation_failed", message: usable }),
      );
    },
  );

  it("that is refused is a 422 of the service, and stores nothing", async () => {
    const app = await startApp({ DATABASE_URL: await databases[0].fresh() });
    const sent = await app.call("POST", "/api/chat/send", { message: "Hi", model: "openai/gpt-6-luna" });
    const listed = await app.call("GET", "/api/chat/conversations");
    await app.stop();
    expect(sent.status).toBe(422);
    expect(sent.json).toMatchObject({ code: "validation_failed", errors: [{ path: "model" }] });
    expect(sent.json.errors[0].message).toContain("fast, balanced, smart");
    expect(listed.json.conversations).toEqual([]);
  });

  it.each([
    { target: "echo/echo", window: 32_768 },
    { target: "openai/gpt-6-luna", window: 128_000 },
    { target: "groq/openai/gpt-oss-20b", window: 131_072 },
    { target: "groq/qwen/qwen3.6-27b", window: 131_072 },
    { target: "openai/a-model-of-ones-own", window: 32_768 },
  ])("for $target has room for $window tokens", ({ target, window }) => {
    const registry = registryFor({ ...OPENAI, ...GROQ });
    expect(registry.plan(target).window).toBe(window);
    expect(registry.windowOf(target)).toBe(window);
  });

  it("of several targets has the room of the largest, and each target its own", () => {
    const registry = registryFor({ ...OPENAI, ...GROQ, MODELS: "fast=openai/own,groq/b,openai/gpt-6-sol" });
    expect(registry.plan("fast").window).toBe(131_072);
    expect(registry.windowOf("openai/own")).toBe(32_768);
  });
});

it("asks for the model by the rest of its name, slashes and all", async () => {
  const target = await registryFor(GROQ).target("groq/openai/gpt-oss-20b", never);
  expect(target).toMatchObject({ name: "groq/openai/gpt-oss-20b", model: "openai/gpt-oss-20b" });
});

it("knows no target of a provider that has no key", async () => {
  await expect(registryFor(GROQ).target("openai/gpt-6-luna", never)).rejects.toThrow("openai/gpt-6-luna");
});

it("asks nobody anything before a turn does", async () => {
  const provider = await startProvider();
  registryFor({ OPENAI_BASE_URL: provider.openaiUrl }).plan("fast");
  await provider.close();
  expect([...provider.asked, ...provider.lists]).toEqual([]);
});
