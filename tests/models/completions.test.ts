import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { FailureKind } from "../../src/core/model.ts";
import type { ProviderEvent } from "../../src/models/provider.ts";
import { createRegistry, type Registry } from "../../src/models/registry.ts";
import { createTransport, type Transport } from "../../src/models/transport.ts";
import { event, type Provider, type Script, startProvider } from "../support/provider.ts";

let provider: Provider;
let transport: Transport;
let registry: Registry;
beforeAll(async () => {
  provider = await startProvider();
  transport = createTransport();
  const { openaiUrl, groqUrl } = provider;
  const models = { openai: { apiKey: "key", baseURL: openaiUrl }, groq: { apiKey: "key", baseURL: groqUrl } };
  registry = createRegistry({ ...models, aliases: new Map() }, transport);
});
afterAll(async () => {
  await transport.close();
  await provider.close();
});

/** What the vendor's provider tells of one call to the fake that behaves so. */
async function hear(vendor: "openai" | "groq", script: Script): Promise<ProviderEvent[]> {
  provider.behave(() => script);
  const { signal } = new AbortController();
  const target = await registry.target(`${vendor}/a-model`, signal);
  const request = { model: target.model, messages: [{ role: "user" as const, content: "Hi" }] };
  return Array.fromAsync(target.provider(request, signal));
}

const textOf = (events: ProviderEvent[]) => events.map((e) => (e.type === "delta" ? e.text : "")).join("");
const usagesOf = (events: ProviderEvent[]) => events.filter((e) => e.type === "usage").map((e) => e.usage);
const choice = (delta: object | null, finish_reason: string | null = null) => ({ choices: [{ delta, finish_reason }] });
const DONE = "data: [DONE]\n\n";

describe.each(["openai", "groq"] as const)("%s", (vendor) => {
  it("tells the text, then what it cost, then how it ended", async () => {
    const events = await hear(vendor, { text: ["Good", " morning", " 👋"] });
    expect(textOf(events)).toBe("Good morning 👋");
    expect(events.slice(-2)).toEqual([
      { type: "usage", usage: { input_tokens: 11, output_tokens: 7, estimated: false } },
      { type: "end", finishReason: "stop" },
    ]);
  });

  it("tells text that arrives together at once", async () => {
    const events = await hear(vendor, { text: ["a", "b", "c"], together: true });
    expect(events.filter((e) => e.type === "delta")).toEqual([{ type: "delta", text: "abc" }]);
  });

  it.each([
    ...["stop", "length", "tool_calls", "function_call"].map((finish) => [finish, finish]),
    ...["eos_token", "eos", "end_turn", "STOP", "stop_sequence", "COMPLETE"].map((finish) => [finish, "stop"]),
    ...["max_tokens", "MAX_TOKENS", "model_length"].map((finish) => [finish, "length"]),
    ["tool_use", "tool_calls"],
  ])("takes the finish reason %s for a whole answer, as %s", async (finish = "", finishReason = "") => {
    expect((await hear(vendor, { finish, done: false })).at(-1)).toEqual({ type: "end", finishReason });
  });

  it("takes [DONE] alone for proof where there is text", async () => {
    expect((await hear(vendor, { text: ["Whole"], finish: null })).at(-1)).toEqual({
      type: "end",
      finishReason: "stop",
    });
    expect((await hear(vendor, { text: [], finish: null })).at(-1)).toMatchObject({ type: "failed" });
  });

  it("takes a finish reason that nobody knows for proof where [DONE] follows", async () => {
    expect((await hear(vendor, { finish: "novel" })).at(-1)).toEqual({ type: "end", finishReason: "stop" });
    expect((await hear(vendor, { finish: "novel", done: false })).at(-1)).toMatchObject({ type: "failed" });
  });

  it("keeps the finish reason that an empty one follows", async () => {
    const raw = event(choice({}, "length")) + event(choice({}, "")) + DONE;
    expect((await hear(vendor, { raw })).at(-1)).toEqual({ type: "end", finishReason: "length" });
  });

  it("passes over what is no JSON behind the finish reason", async () => {
    const events = await hear(vendor, { text: ["Whole"], raw: `${event(choice({}, "stop"))}data: bye\n\n${DONE}` });
    expect([textOf(events), events.at(-1)]).toEqual(["Whole", { type: "end", finishReason: "stop" }]);
  });

  it("takes the last event without its blank line", async () => {
    const events = await hear(vendor, { text: ["Whole"], raw: event(choice({ content: "!" }, "stop")).trimEnd() });
    expect([textOf(events), events.at(-1)]).toEqual(["Whole!", { type: "end", finishReason: "stop" }]);
  });

  it.each<{ what: string; chunk: object }>([
    {
      what: "a list of parts",
      chunk: choice({ content: [{ type: "text", text: "Hi" }, { type: "image" }, " there"] }),
    },
    { what: "a message instead of a delta", chunk: { choices: [{ message: { content: "Hi there" } }] } },
    { what: "text, as older completions do", chunk: { choices: [{ text: "Hi there" }] } },
  ])("takes content as $what", async ({ chunk }) => {
    const events = await hear(vendor, { text: [], raw: event(chunk) + event(choice({}, "stop")) + DONE });
    expect([textOf(events), events.at(-1)]).toEqual(["Hi there", { type: "end", finishReason: "stop" }]);
  });

  it.each(["application/json", "text/event-stream"])("takes an answer that is not streamed (%s)", async (type) => {
    const whole = { choices: [{ message: { role: "assistant", content: "Hi there" }, finish_reason: "stop" }] };
    const usage = { prompt_tokens: 3, completion_tokens: 2 };
    const events = await hear(vendor, { whole: { ...whole, usage }, headers: { "content-type": type } });
    expect([textOf(events), events.at(-1)]).toEqual(["Hi there", { type: "end", finishReason: "stop" }]);
    expect(usagesOf(events)).toEqual([{ input_tokens: 3, output_tokens: 2, estimated: false }]);
  });

  it.each(["gzip", "deflate"] as const)(
    "takes an answer that is compressed with %s, though nobody asked",
    async (gzip) => {
      const events = await hear(vendor, { text: ["Hi", " there"], compress: gzip });
      expect([textOf(events), events.at(-1)]).toEqual(["Hi there", { type: "end", finishReason: "stop" }]);
    },
  );

  it("gives up an answer that never ends", async () => {
    const events = await hear(vendor, { text: [], raw: `data: ${"x".repeat(2_000_000)}`, afterwards: "open" }).catch(
      (error) => error,
    );
    expect(events).toMatchObject({ code: "answer_too_large" });
  });

  it("takes a known finish reason for proof, also without [DONE]", async () => {
    expect((await hear(vendor, { done: false })).at(-1)).toEqual({ type: "end", finishReason: "stop" });
  });

  it("tells no usage where none was sent", async () => {
    expect(usagesOf(await hear(vendor, { usage: null }))).toEqual([]);
  });

  it("reads nothing after [DONE]", async () => {
    const raw = event(choice({ content: "all" }, "stop")) + DONE + event(choice({ content: " and more" }));
    expect(textOf(await hear(vendor, { text: [], raw }))).toBe("all");
  });

  it("passes over what a chunk lacks or has more of", async () => {
    const raw = [{ choices: [] }, { made_up: true }, choice(null), choice({ content: null }), choice({}, "stop")];
    const events = await hear(vendor, { text: ["Hi"], raw: raw.map(event).join("") + DONE });
    expect([textOf(events), events.at(-1)]).toEqual(["Hi", { type: "end", finishReason: "stop" }]);
  });
});

it("counts once what Groq tells twice: the last usage stands", async () => {
  const early = { ...choice({}, "stop"), x_groq: { usage: { prompt_tokens: 1, completion_tokens: 2 } } };
  const late = { choices: [], usage: { prompt_tokens: 30, completion_tokens: 40 } };
  const events = await hear("groq", { raw: event(early) + event(late) + DONE });
  expect(usagesOf(events)).toEqual([{ input_tokens: 30, output_tokens: 40, estimated: false }]);
});

const failures: { what: string; vendor?: "groq"; script: Script; kind: FailureKind }[] = [
  { what: "the finish reason abort", script: { finish: "abort" }, kind: "stream_incomplete" },
  { what: "the finish reason error", script: { finish: "error" }, kind: "stream_incomplete" },
  { what: "neither", script: { finish: null, done: false }, kind: "stream_incomplete" },
  { what: "garbage for JSON", script: { raw: `data: {"choices\n\n${DONE}` }, kind: "stream_incomplete" },
  { what: "JSON of another shape", script: { raw: event({ choices: "none" }) + DONE }, kind: "stream_incomplete" },
  {
    what: "an error in the stream",
    script: { raw: event({ error: { message: "boom", type: "server_error", code: null } }) + DONE },
    kind: "stream_incomplete",
  },
  {
    what: "an error in the stream after the finish reason",
    script: { raw: event(choice({}, "stop")) + event({ error: { message: "boom" } }) + DONE },
    kind: "stream_incomplete",
  },
  {
    what: "a spent quota in the stream",
    script: { raw: event({ error: { message: "boom", code: "insufficient_quota" } }) },
    kind: "quota_exhausted",
  },
  {
    what: "Groq's own error",
    vendor: "groq",
    script: { raw: event({ ...choice({}, "stop"), x_groq: { error: "over capacity" } }) + DONE },
    kind: "stream_incomplete",
  },
  { what: "the finish reason content_filter", script: { finish: "content_filter" }, kind: "content_filter" },
];

describe("an answer that ends with", () => {
  it.each(failures)("$what has failed: $kind, after the text that came", async ({ vendor, script, kind }) => {
    const events = await hear(vendor ?? "openai", { text: ["Half", " an"], ...script });
    expect([textOf(events), events.at(-1)]).toEqual(["Half an", { type: "failed", kind }]);
    expect(events.filter((e) => e.type === "end" || e.type === "failed")).toHaveLength(1);
  });
});

describe("an answer is not lost for", () => {
  it.each<{ what: string; chunk: object }>([
    { what: "usage: {}", chunk: { choices: [], usage: {} } },
    { what: "usage in words", chunk: { choices: [], usage: "none" } },
    { what: "x_groq without what is expected", chunk: { choices: [], x_groq: { usage: { prompt_tokens: null } } } },
  ])("$what", async ({ chunk }) => {
    const events = await hear("openai", { text: ["Whole"], raw: event(chunk) + event(choice({}, "stop")) + DONE });
    expect([textOf(events), events.at(-1)]).toEqual(["Whole", { type: "end", finishReason: "stop" }]);
    expect(usagesOf(events)).toEqual([]);
  });

  it.each(["data:\n\n", "data: \n\n", "data\n\n"])("an empty event, %j", async (empty) => {
    const events = await hear("openai", { text: ["Whole"], raw: empty + event(choice({}, "stop")) + empty + DONE });
    expect([textOf(events), events.at(-1)]).toEqual(["Whole", { type: "end", finishReason: "stop" }]);
  });
});

it("tells of the head with its status first, and of life where there is no text", async () => {
  const events = await hear("openai", { thoughts: 3, every: 20, text: ["So"] });
  expect(events[0]).toEqual({ type: "head", status: 200 });
  const types = events.map(({ type }) => type);
  expect(types.indexOf("delta")).toBeGreaterThanOrEqual(3);
  expect(new Set(types.slice(1, types.indexOf("delta")))).toEqual(new Set(["alive"]));
});
