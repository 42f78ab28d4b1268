import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { AppError } from "../../src/core/errors.ts";
import type { DispatchEvent, Prompt } from "../../src/core/model.ts";
import { createDispatch, type Timeouts } from "../../src/models/dispatch.ts";
import { createRegistry, type Registry } from "../../src/models/registry.ts";
import { createTransport, type Transport } from "../../src/models/transport.ts";
import type { Last } from "../support/models-dispatch.ts";
import { type Asked, type Provider, type Script, startProvider } from "../support/provider.ts";

const PATIENT: Timeouts = { firstToken: 60_000, lastFirstToken: 60_000, idle: 60_000, total: 100_000 };
const NARROW = "openai/own"; // 8,192 tokens, as "openai/other"
const WIDE = "groq/wide"; // 131,072
const never = new AbortController().signal;
const fits: Prompt = {
  messages: [{ role: "user", content: "Hello" }],
  report: { messages: 1, omitted: 0, estimated_tokens: 5 },
};

let provider: Provider;
let transport: Transport;
let registry: Registry;
beforeAll(async () => {
  provider = await startProvider();
  transport = createTransport();
});
afterEach(() => {
  provider.behave(() => ({}));
  provider.asked.length = 0;
});
afterAll(async () => {
  await transport.close();
  await provider.close();
});

/** Runs one turn over these targets with a registry of its own. */
async function run(targets: string[], timeouts: Partial<Timeouts> = {}, prompt = (_window: number) => fits) {
  const { openaiUrl, groqUrl } = provider;
  const models = { openai: { apiKey: "key", baseURL: openaiUrl }, groq: { apiKey: "key", baseURL: groqUrl } };
  const windows = new Map([NARROW, "openai/other"].map((target) => [target, 8_192]));
  registry = createRegistry({ ...models, windows, aliases: new Map([["test", targets]]) }, transport);
  const dispatch = createDispatch(registry, { ...PATIENT, ...timeouts }, { random: () => 0 });
  const events: DispatchEvent[] = await Array.fromAsync(dispatch(registry.plan("test"), prompt, never));
  const last = events.at(-1) as Last;
  return { events, last };
}

const byModel = (scripts: Record<string, Script>) => provider.behave(({ body }: Asked) => scripts[body.model] ?? {});
const asked = () => provider.asked.map(({ body }) => body.model);
const silent: Script = { headersAfter: Infinity };

describe("the silence before the first token", () => {
  it("is borne for less long while another target is left, and for longer on the last", async () => {
    byModel({ a: silent, b: { headersAfter: 600 } });
    const { last } = await run(["openai/a", "openai/b"], { firstToken: 150 });
    expect(last.attempts.map(({ outcome }) => outcome)).toEqual(["timeout_headers", "completed"]);
  });

  it("is not borne for ever on the last", async () => {
    byModel({ a: silent });
    const { last } = await run(["openai/a"], { lastFirstToken: 200 });
    expect(last).toMatchObject({ error: { code: "provider_timeout" }, attempts: [{ outcome: "timeout_headers" }] });
  });

  it("is borne as on the last where the others are left alone", async () => {
    byModel({ a: { headersAfter: 400 }, b: { status: 429, headers: { "retry-after": "250" } } });
    await run(["openai/b", "openai/a"]);
    const dispatch = createDispatch(registry, { ...PATIENT, firstToken: 50 });
    const plan = { model: "test", targets: ["openai/a", "openai/b"], window: 8_192 };
    const events = await Array.fromAsync(dispatch(plan, () => fits, never));
    expect(events.at(-1)).toMatchObject({ type: "end", target: "openai/a", attempts: [{}] });
  });

  it("may be broken by signs of life, but not so long that no time is left for another target", async () => {
    byModel({ a: { thoughts: 500, every: 100 } });
    const { last } = await run(["openai/a", "openai/b"], { firstToken: 1_000, total: 8_000 });
    expect(last).toMatchObject({ type: "end", target: "openai/b", attempts: [{ outcome: "timeout_first_token" }, {}] });
  });

  it("is not broken by the head alone", async () => {
    byModel({ a: { text: [], together: true, afterwards: "stall", headersAfter: 300 } });
    const { last } = await run(["openai/a", "openai/b"], { firstToken: 2_000 });
    expect(last).toMatchObject({ type: "end", attempts: [{ outcome: "timeout_first_token", status: 200 }, {}] });
  });
});

it("the whole turn has one deadline, over all attempts", async () => {
  byModel({ a: silent, b: { text: Array(500).fill("on "), every: 30 } });
  const { last } = await run(["openai/a", "openai/b"], { firstToken: 300, total: 5_000 });
  expect(last.attempts.map(({ outcome }) => outcome)).toEqual(["timeout_headers", "timeout_total"]);
  expect(last).toMatchObject({ type: "failed", target: "openai/b", error: { code: "provider_timeout" } });
});

it("a Retry-After that does not leave half of the turn's time is not waited for", async () => {
  byModel({ a: { status: 429, headers: { "retry-after": "55" } } });
  const { last } = await run(["openai/a"]);
  expect(last.attempts).toHaveLength(1);
});

describe("a conversation that is too long", () => {
  const tooLong = { status: 400, error: { error: { message: "no", code: "context_length_exceeded" } } };
  const fitsOnlyWide = (window: number): Prompt => {
    if (window < 100_000) throw new AppError("context_too_long", `It is longer than ${window} tokens.`);
    return fits;
  };

  it("goes on to the next target that has more room, past those that have not", async () => {
    byModel({ own: tooLong });
    const { last } = await run([NARROW, "openai/other", WIDE]);
    expect(last).toMatchObject({ type: "end", target: WIDE });
    expect(asked()).toEqual(["own", "wide"]);
  });

  it("goes on to a target of which nobody knows how much room it has", async () => {
    byModel({ own: tooLong });
    const { last } = await run([NARROW, "openai/unknown"]);
    expect(last).toMatchObject({ type: "end", target: "openai/unknown" });
  });

  it("is fitted to what the refusal says, and sent once more, where no target has more room", async () => {
    const windows: number[] = [];
    provider.behave(() => {
      const message = "This model's maximum context length is 4096 tokens. However, you requested 6000 tokens.";
      return windows.length === 1 ? { status: 400, error: { error: { message, code: 400 } } } : {};
    });
    const { last } = await run([NARROW], {}, (window) => {
      windows.push(window);
      return { ...fits, report: { ...fits.report, estimated_tokens: 5_000 } };
    });
    expect(last).toMatchObject({ type: "end", attempts: [{ outcome: "context_length" }, { outcome: "completed" }] });
    expect(windows).toEqual([8_192, Math.floor((4_096 * 5_000) / 6_000)]); // by our own count, which is lower
    expect(registry.windowOf(NARROW), "for the turns to come").toBe(windows[1]);
  });

  it("comes back to the target that refused it where the one with more room is down", async () => {
    let refused = 0;
    provider.behave(({ body }) => (body.model === "wide" ? { status: 401 } : refused++ === 0 ? tooLong : {}));
    const { last } = await run([NARROW, WIDE]);
    expect(last).toMatchObject({ type: "end", target: NARROW });
    expect(asked()).toEqual(["own", "wide", "own"]);
  });

  it("fails where it is refused again", async () => {
    byModel({ wide: tooLong });
    const { last } = await run([WIDE, NARROW]);
    expect(last).toMatchObject({ type: "failed", error: { code: "context_too_long" } });
    expect(asked()).toEqual(["wide", "wide"]);
  });

  it("is fitted into each target's own window, and not sent where it cannot be", async () => {
    const { last } = await run([NARROW, WIDE], {}, fitsOnlyWide);
    expect(last).toMatchObject({ type: "end", target: WIDE, attempts: [{ target: WIDE }] });
    expect(asked()).toEqual(["wide"]);
  });

  it("leaves the failure of the target that it was sent to to be told", async () => {
    byModel({ wide: { status: 401 } });
    const { last } = await run([WIDE, NARROW], {}, fitsOnlyWide);
    expect(last).toMatchObject({ type: "failed", error: { code: "provider_failed" }, attempts: [{ target: WIDE }] });
  });

  it("moves no breaker where nothing was asked", async () => {
    byModel({ own: { status: 429, headers: { "retry-after-ms": "0" } } });
    await run([NARROW]);
    expect(registry.breaker.state(NARROW)).toBe("half_open");
    const dispatch = createDispatch(registry, PATIENT);
    await Array.fromAsync(dispatch({ model: "test", targets: [NARROW], window: 1 }, fitsOnlyWide, never));
    expect(registry.breaker.state(NARROW)).toBe("half_open");
  });
});

it("a target that stands twice in an alias is called twice, and no more", async () => {
  byModel({ a: { status: 401 } });
  const { last } = await run(["openai/a", "openai/a"]);
  expect([last.type, asked()]).toEqual(["failed", ["a", "a"]]);
});

it("a fault of our own is no failure of a target", async () => {
  const broken = () => {
    throw new TypeError("a bug");
  };
  await expect(run([NARROW, WIDE], {}, broken)).rejects.toThrow("a bug");
  expect(asked()).toEqual([]);
});

it("a target's state is told with the models", async () => {
  byModel({ a: { status: 401 } });
  await run(["openai/a", "openai/b"]);
  const states = () =>
    registry
      .list()
      .aliases.find(({ alias }) => alias === "test")
      ?.targets.map(({ target, breaker }) => [target, breaker]);
  expect(states()).toEqual([
    ["openai/a", "closed"],
    ["openai/b", "closed"],
  ]);
  const dispatch = createDispatch(registry, PATIENT);
  for (let n = 0; n < 2; n++) await Array.fromAsync(dispatch(registry.plan("test"), () => fits, never));
  expect(states()).toEqual([
    ["openai/a", "open"],
    ["openai/b", "closed"],
  ]);
});
