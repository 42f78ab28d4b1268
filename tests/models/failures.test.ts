import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { FailureKind, TurnError } from "../../src/core/model.ts";
import { kindOfError } from "../../src/models/failures.ts";
import { type Dispatcher, freshTarget, KEY, runtimes, startDispatcher } from "../support/models-dispatch.ts";
import { event, type Provider, type Script, startProvider } from "../support/provider.ts";

const MARKER = "marker-of-the-body";

/** How often the same target is called: a prompt that is too long is fitted once. */
const CALLS: Partial<Record<FailureKind, number>> = { rate_limited: 3, overloaded: 3, connect: 3, context_length: 2 };

type Case = { what: string; vendor?: "groq"; script: Script; outcome: FailureKind; code: TurnError["code"] };

const openai = (status: number, code: string | null, type = "error"): Script => ({
  status,
  error: { error: { message: `${MARKER} for ${KEY}`, type, param: null, code } },
});

const cases: Case[] = [
  { what: "429", script: openai(429, "rate_limit_exceeded"), outcome: "rate_limited", code: "provider_unavailable" },
  { what: "429 without a code", script: openai(429, null), outcome: "rate_limited", code: "provider_unavailable" },
  {
    what: "429 for a quota",
    script: openai(429, "insufficient_quota"),
    outcome: "quota_exhausted",
    code: "provider_failed",
  },
  {
    what: "429 for a quota, by its type alone",
    script: openai(429, null, "insufficient_quota"),
    outcome: "quota_exhausted",
    code: "provider_failed",
  },
  {
    what: "429 for a quota, by its type beside another code",
    script: openai(429, "rate_limit_exceeded", "insufficient_quota"),
    outcome: "quota_exhausted",
    code: "provider_failed",
  },
  {
    what: "429 for a spend limit",
    script: openai(429, "organization_spend_limit_exceeded"),
    outcome: "quota_exhausted",
    code: "provider_failed",
  },
  {
    what: "Groq's 429",
    vendor: "groq",
    script: openai(429, "rate_limit_exceeded", "tokens"),
    outcome: "rate_limited",
    code: "provider_unavailable",
  },
  {
    what: "Groq's 498",
    vendor: "groq",
    script: openai(498, null),
    outcome: "overloaded",
    code: "provider_unavailable",
  },
  { what: "500", script: openai(500, null, "server_error"), outcome: "overloaded", code: "provider_unavailable" },
  { what: "503", script: openai(503, null), outcome: "overloaded", code: "provider_unavailable" },
  {
    what: "a proxy's page",
    script: { status: 502, headers: { "content-type": "text/html" }, error: `<h1>${MARKER}</h1>` },
    outcome: "overloaded",
    code: "provider_unavailable",
  },
  { what: "401", script: openai(401, "invalid_api_key"), outcome: "auth", code: "provider_failed" },
  {
    what: "Groq's 401",
    vendor: "groq",
    script: openai(401, "invalid_api_key"),
    outcome: "auth",
    code: "provider_failed",
  },
  { what: "403", script: openai(403, null), outcome: "auth", code: "provider_failed" },
  { what: "404", script: openai(404, null), outcome: "model_gone", code: "provider_failed" },
  { what: "404 for the model", script: openai(404, "model_not_found"), outcome: "model_gone", code: "provider_failed" },
  {
    what: "Groq's 400 for a model that is off",
    vendor: "groq",
    script: openai(400, "model_decommissioned"),
    outcome: "model_gone",
    code: "provider_failed",
  },
  { what: "400", script: openai(400, "unsupported_value"), outcome: "bad_request", code: "provider_failed" },
  { what: "422", script: openai(422, null), outcome: "bad_request", code: "provider_failed" },
  {
    what: "400 for the length",
    script: openai(400, "context_length_exceeded"),
    outcome: "context_length",
    code: "context_too_long",
  },
  {
    what: "Groq's 400 for the length",
    vendor: "groq",
    script: openai(400, "context_length_exceeded"),
    outcome: "context_length",
    code: "context_too_long",
  },
  {
    what: "400 for the content",
    script: openai(400, "content_filter"),
    outcome: "content_filter",
    code: "content_refused",
  },
  {
    what: "400 for a policy",
    script: openai(400, "content_policy_violation"),
    outcome: "content_filter",
    code: "content_refused",
  },
];

it.each(["UND_ERR_CONNECT_TIMEOUT", "ETIMEDOUT"])("a connection that nobody takes up (%s) is silence", (code) => {
  expect(kindOfError(Object.assign(new Error("no"), { cause: { code } }), "connect")).toBe("timeout_headers");
});

describe.each(runtimes)("a refusal on %s", (runtime) => {
  let provider: Provider;
  let dispatcher: Dispatcher;
  beforeAll(async () => {
    provider = await startProvider();
    dispatcher = startDispatcher(runtime, provider);
    await dispatcher.send(freshTarget()).last; // a server that has never answered is asked a second time without its options
  });
  afterAll(async () => {
    await dispatcher.stop();
    await provider.close();
  });

  it.each(cases)("$what is $outcome, told as $code", async ({ vendor, script, outcome, code }) => {
    provider.behave(() => script);
    const target = freshTarget(vendor);
    const asked = provider.asked.length;
    const turn = dispatcher.send(target);
    const last = await turn.last;
    expect(last).toMatchObject({ type: "failed", target, error: { code } });
    const attempt = { target, outcome, status: script.status, first_token_ms: null, usage: null };
    expect(last.attempts).toMatchObject(Array.from({ length: CALLS[outcome] ?? 1 }, () => attempt));
    expect(provider.asked.length - asked, "nobody tries but the dispatch").toBe(last.attempts.length);
    expect(last).toMatchObject({ usage: null, cost: null });
    await expect.poll(provider.busy).toBe(0);
    expect(JSON.stringify(turn.heard)).not.toMatch(new RegExp(`${MARKER}|${KEY}`));
  });

  it("inside a stream shows nothing of the provider's words either", async () => {
    provider.behave(() => ({ raw: event({ error: { message: `${MARKER} ${KEY}`, type: "server_error" } }) }));
    const turn = dispatcher.send(freshTarget());
    expect(await turn.last).toMatchObject({ type: "failed", error: { code: "provider_failed" } });
    expect(JSON.stringify(turn.heard)).not.toMatch(new RegExp(`${MARKER}|${KEY}`));
  });

  it("with a body of megabytes is still named by its status, and leaves no connection busy", async () => {
    provider.behave(() => ({ status: 503, error: { error: { message: MARKER.repeat(200_000) } } }));
    const last = await dispatcher.send(freshTarget()).last;
    expect(last.attempts[0]).toMatchObject({ outcome: "overloaded", status: 503 });
    await expect.poll(provider.busy).toBe(0);
  });

  it("of the connection itself is connect, told as provider_unavailable", async () => {
    const gone = await startProvider();
    await gone.close();
    const alone = startDispatcher(runtime, gone);
    for (const target of ["openai/a-model", "groq/a-model"]) {
      const last = await alone.send(target).last;
      expect(last).toMatchObject({ type: "failed", error: { code: "provider_unavailable" } });
      expect(last.attempts[0]).toMatchObject({ target, outcome: "connect", status: null, usage: null });
    }
    expect(await alone.stop()).toBe(0);
  });

  it("by a redirect sends the conversation nowhere else", async () => {
    const elsewhere = await startProvider();
    provider.behave(() => ({ status: 307, headers: { location: `${elsewhere.openaiUrl}/chat/completions` } }));
    const last = await dispatcher.send(freshTarget()).last;
    await elsewhere.close();
    expect(elsewhere.asked).toEqual([]);
    expect(last).toMatchObject({ type: "failed", error: { code: "provider_failed" } });
  });
});

it.each<[unknown, FailureKind]>([
  [500, "overloaded"],
  ["503", "overloaded"],
  [429, "rate_limited"],
  [402, "quota_exhausted"],
  [401, "auth"],
  [200, "stream_incomplete"],
  [1234, "stream_incomplete"],
])("an error in the middle of an answer whose code is %s is judged by it as by a status", (code, kind) => {
  expect(kindOfError({ error: { message: "no", code } }, "stream_incomplete")).toBe(kind);
});
