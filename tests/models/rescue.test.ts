import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { FailureKind } from "../../src/core/model.ts";
import { type Dispatcher, freshTarget, type Last, runtimes, startDispatcher } from "../support/models-dispatch.ts";
import { type Asked, event, type Provider, type Script, startProvider } from "../support/provider.ts";

const says = (status: number, code: string, headers: Record<string, string> = {}): Script => ({
  status,
  headers,
  error: { error: { message: "no", code } },
});
const outcomes = ({ attempts }: Last) => attempts.map(({ target, outcome }) => [target, outcome]);

const refusal = { status: 400, error: { error: { message: "no", param: "messages" } } };

describe.each(runtimes)("on %s", (runtime) => {
  let provider: Provider;
  let dispatcher: Dispatcher;
  /** For what is to run out of time. */
  let hasty: Dispatcher;
  let first: string;
  let second: string;
  beforeAll(async () => {
    provider = await startProvider();
    dispatcher = startDispatcher(runtime, provider);
    hasty = startDispatcher(runtime, provider, { firstToken: 1_000, lastFirstToken: 3_000, idle: 1_000 });
  });
  beforeEach(() => {
    first = freshTarget();
    second = freshTarget("groq");
  });
  afterAll(async () => {
    const codes = [await dispatcher.stop(), await hasty.stop()];
    await provider.close();
    expect(codes, "they end by themselves: no timer and no connection is left").toEqual([0, 0]);
  });

  const isFor = (target: string, { body }: Asked) => target.endsWith(`/${body.model}`);
  const hits = (target: string) => provider.asked.filter((asked) => isFor(target, asked)).length;

  /** The first target does the first of these on its first call, and so on; the second answers, unless told otherwise. */
  function behave(scripts: Script | Script[], other: Script = { text: ["The ", "second"] }): void {
    const list = [scripts].flat();
    const calls = new Map<string, number>();
    provider.behave((asked) => {
      if (!isFor(first, asked)) return other;
      const nth = calls.get(first) ?? 0;
      calls.set(first, nth + 1);
      return list[Math.min(nth, list.length - 1)] ?? {};
    });
  }

  describe("a turn goes on to the next target, unseen by whoever listens, when the first", () => {
    it.each<{ what: string; script: Script; outcome: FailureKind; calls?: number }>([
      {
        what: "is over its limit for long",
        script: says(429, "slow_down", { "retry-after": "30" }),
        outcome: "rate_limited",
      },
      { what: "has spent its quota", script: says(429, "insufficient_quota"), outcome: "quota_exhausted" },
      { what: "fails for ever", script: { status: 500 }, outcome: "overloaded", calls: 3 },
      { what: "resets every connection", script: { reset: true }, outcome: "connect", calls: 3 },
      { what: "refuses the key", script: says(401, "invalid_api_key"), outcome: "auth" },
      { what: "refuses the request", script: refusal, outcome: "bad_request" },
      { what: "has no money left", script: { status: 402 }, outcome: "quota_exhausted" },
      { what: "has no tokens left this minute", script: { status: 413 }, outcome: "context_length" },
      {
        what: "refuses the key with a 400",
        script: {
          status: 400,
          error: [{ error: { code: 400, message: "API key not valid. Please pass a valid API key." } }],
        },
        outcome: "auth",
      },
      { what: "has lost the model", script: says(404, "model_not_found"), outcome: "model_gone" },
      { what: "sends no headers", script: { headersAfter: Infinity }, outcome: "timeout_headers" },
      { what: "never begins", script: { text: [], afterwards: "stall" }, outcome: "timeout_first_token" },
      { what: "begins too late", script: { text: ["Late"], every: 6_000 }, outcome: "timeout_first_token" },
      { what: "breaks off before its text", script: { text: [], afterwards: "cut" }, outcome: "stream_cut" },
      { what: "sends garbage", script: { text: [], raw: 'data: {"cho\n\n' }, outcome: "stream_incomplete" },
      { what: "ends without proof", script: { text: [], finish: null, done: false }, outcome: "stream_incomplete" },
      { what: "aborts", script: { text: [], finish: "abort" }, outcome: "stream_incomplete" },
      {
        what: "reports an error in its stream",
        script: { text: [], raw: event({ error: { message: "boom" } }) },
        outcome: "stream_incomplete",
      },
    ])("$what", async ({ script, outcome, calls = 1 }) => {
      behave(script);
      const turn = (outcome.startsWith("timeout") ? hasty : dispatcher).send([first, second]);
      const last = await turn.last;
      expect(last).toMatchObject({ type: "end", target: second });
      expect(turn.heard.filter(({ type }) => type !== "delta")).toEqual([last]);
      expect(turn.text()).toBe("The second");
      expect(outcomes(last)).toEqual([...Array(calls).fill([first, outcome]), [second, "completed"]]);
      expect(hits(first)).toBe(calls);
      await expect.poll(provider.busy).toBe(0);
    });
  });

  it.each<{ what: string; script: Script; code: string }>([
    { what: "a refused prompt", script: says(400, "content_policy_violation"), code: "content_refused" },
    { what: "a filtered answer", script: { finish: "content_filter" }, code: "content_refused" },
  ])("$what is not shopped around", async ({ script, code }) => {
    behave(script);
    const last = await dispatcher.send([first, second]).last;
    expect(last).toMatchObject({ type: "failed", error: { code } });
    expect([hits(first), hits(second)]).toEqual([1, 0]);
  });

  it.each<{ what: string; script: Script }>([
    { what: "fails once", script: { status: 500 } },
    { what: "resets one connection", script: { reset: true } },
    { what: "is over its limit for a moment", script: says(429, "slow_down", { "retry-after-ms": "50" }) },
  ])("a target that $what is asked again, and answers", async ({ script }) => {
    behave([script, { text: ["Here I am"] }]);
    const turn = dispatcher.send([first, second]);
    expect(await turn.last).toMatchObject({ type: "end", target: first });
    expect([turn.text(), hits(first), hits(second)]).toEqual(["Here I am", 2, 0]);
  });

  it("a Retry-After is waited for where no other target is left", async () => {
    behave([says(429, "slow_down", { "retry-after": "1" }), { text: ["Later"] }]);
    const turn = dispatcher.send(first);
    expect((await turn.last).type).toBe("end");
    expect([turn.text(), hits(first)]).toEqual(["Later", 2]);
  });

  it("a Retry-After that is longer than anybody would wait fails the turn at once, and is told", async () => {
    behave(says(429, "slow_down", { "retry-after": "300" }));
    expect(await dispatcher.send(first).last).toMatchObject({
      type: "failed",
      error: { code: "provider_unavailable", retry_after_s: 300 },
    });
    expect(hits(first)).toBe(1);
  });

  it.each<{ what: string; script: Script; reason: FailureKind }>([
    { what: "breaks off", script: { text: ["Half ", "an"], every: 200, afterwards: "cut" }, reason: "stream_cut" },
    { what: "stalls", script: { text: ["Half ", "an"], afterwards: "stall" }, reason: "timeout_idle" },
    {
      what: "ends without proof",
      script: { text: ["Half ", "an"], finish: null, done: false },
      reason: "stream_incomplete",
    },
  ])("an answer that $what is begun anew by the next target, never spliced", async ({ script, reason }) => {
    behave(script);
    const turn = (reason === "timeout_idle" ? hasty : dispatcher).send([first, second]);
    const last = await turn.last;
    expect(last).toMatchObject({ type: "end", target: second });
    const restart = turn.heard.findIndex(({ type }) => type === "restart");
    expect(turn.heard[restart]).toEqual({ type: "restart", reason });
    const text = (events: typeof turn.heard) => events.map((e) => (e.type === "delta" ? e.text : "")).join("");
    expect(text(turn.heard.slice(restart))).toBe("The second");
    expect("Half an").toContain(text(turn.heard.slice(0, restart)));
    expect(outcomes(last)).toEqual([
      [first, reason],
      [second, "completed"],
    ]);
  });

  it("an answer that broke off stands where the next target says nothing", async () => {
    behave({ text: ["Half an"], afterwards: "stall" }, { headersAfter: Infinity });
    const turn = hasty.send([first, second]);
    expect(await turn.last).toMatchObject({
      type: "failed",
      target: first,
      error: { code: "provider_timeout" },
      attempts: [{ outcome: "timeout_idle" }, { outcome: "timeout_headers" }],
    });
    expect(turn.heard.map(({ type }) => type)).toEqual(["delta", "failed"]);
    expect(turn.text()).toBe("Half an");
  });

  it("of two answers that broke off the second stands", async () => {
    behave({ text: ["First half"], afterwards: "stall" }, { text: ["Second half"], finish: null, done: false });
    const turn = hasty.send([first, second]);
    expect(await turn.last).toMatchObject({ type: "failed", target: second, error: { code: "provider_failed" } });
    expect(turn.heard.slice(0, -1)).toEqual([
      { type: "delta", text: "First half" },
      { type: "restart", reason: "timeout_idle" },
      { type: "delta", text: "Second half" },
    ]);
  });

  it("a whole answer without a word does away with the half one before it", async () => {
    behave({ text: ["Half an"], finish: null, done: false }, { text: [] });
    const turn = dispatcher.send([first, second]);
    expect(await turn.last).toMatchObject({ type: "end", target: second });
    expect(turn.heard.at(-2)).toEqual({ type: "restart", reason: "stream_incomplete" });
  });

  it("nothing is begun anew where the next target is left alone", async () => {
    behave({ text: ["Half an"], finish: null, done: false }, says(429, "slow_down", { "retry-after": "300" }));
    await dispatcher.send(second).last;
    const turn = dispatcher.send([first, second]);
    expect(await turn.last).toMatchObject({ type: "failed", target: first, attempts: [{ target: first }] });
    expect(turn.heard.map(({ type }) => type)).toEqual(["delta", "failed"]);
  });

  it("what a turn spent is that of all attempts that had begun to answer", async () => {
    behave([{ status: 500 }, { text: ["12345678"], finish: null, done: false, usage: null }]);
    const last = await dispatcher.send([first, second]).last;
    const estimated = { input_tokens: 9, output_tokens: 2, estimated: true };
    expect(last.attempts).toMatchObject([
      { outcome: "overloaded", status: 500, usage: null, first_token_ms: null },
      { outcome: "stream_incomplete", status: 200, usage: estimated, first_token_ms: expect.any(Number) },
      { outcome: "completed", status: 200, usage: { input_tokens: 11, output_tokens: 7, estimated: false } },
    ]);
    expect(last).toMatchObject({ usage: { input_tokens: 20, output_tokens: 9, estimated: true }, cost: null });
  });

  it("a turn that is cancelled while it waits to ask again asks no more", async () => {
    behave([says(429, "slow_down", { "retry-after": "20" }), {}]);
    const turn = dispatcher.send(first);
    await expect.poll(() => hits(first)).toBe(1);
    await expect.poll(provider.busy).toBe(0);
    turn.cancel();
    expect(await turn.last).toMatchObject({ type: "failed", error: { code: "turn_cancelled" } });
    expect(hits(first)).toBe(1);
  });

  it("a target that reasons is not silent, however long before its first word", async () => {
    behave({ thoughts: 8, every: 200, text: ["Now I know"] });
    const turn = hasty.send([first, second]);
    expect(await turn.last).toMatchObject({ type: "end", target: first });
    expect(turn.text()).toBe("Now I know");
  });

  it("the body of a refusal is not waited for for ever: its status names it", async () => {
    behave({ ...says(401, ""), withoutBody: true });
    const patient = startDispatcher(runtime, provider);
    const last = await patient.send(first).last;
    expect(last.attempts).toMatchObject([{ outcome: "auth", status: 401 }]);
    await expect.poll(provider.busy).toBe(0);
    expect(await patient.stop()).toBe(0);
  });

  it("a target that is left alone is no attempt of turns that pass it by", async () => {
    behave(says(429, "slow_down", { "retry-after": "300" }));
    expect(outcomes(await dispatcher.send([first, second]).last)).toHaveLength(2);
    for (let n = 0; n < 5; n++) {
      const last = await dispatcher.send([first, second]).last;
      expect(outcomes(last)).toEqual([[second, "completed"]]);
    }
    expect(hits(first)).toBe(1);
  });

  it("a target that has recovered is back in use after its cooldown", async () => {
    behave([{ status: 503 }, { status: 503 }, { status: 503 }, { text: ["Back"] }]);
    await dispatcher.send([first, second]).last;
    const target = async () => (await dispatcher.send([first, second]).last).target;
    await expect.poll(target, { interval: 50 }).toBe(first);
    expect(await target()).toBe(first);
  });

  it("a turn all of whose targets are left alone for long fails without asking, and says when to come back", async () => {
    behave(says(429, "slow_down", { "retry-after": "300" }));
    await dispatcher.send(first).last;
    const last = await dispatcher.send(first).last;
    expect(last).toMatchObject({ type: "failed", target: null, attempts: [], usage: null, cost: null, context: null });
    expect(last).toMatchObject({ error: { code: "provider_unavailable", retry_after_s: 300 } });
    const detail = last.type === "failed" ? last.error.detail : "";
    expect(detail).toMatch(/^\S+ is over its rate limit \(\d+ s ago\) and is asked again in \d+ s\.$/);
    expect(detail).toContain(first);
    expect(hits(first)).toBe(1);
  });

  it("a turn that fails names the targets that it did not ask, and why", async () => {
    const limited = says(429, "slow_down", { "retry-after": "300" });
    behave(limited);
    await dispatcher.send(first).last;
    behave(limited, says(402, "insufficient_quota"));
    const last = await dispatcher.send([second, first]).last;
    expect(outcomes(last)).toEqual([[second, "quota_exhausted"]]);
    const detail = last.type === "failed" ? last.error.detail : "";
    expect(detail).toContain(`${second} has no quota left. ${first} is over its rate limit (`);
    expect(detail).toMatch(/ago\) and is asked again in \d+ s\.$/);
  });

  it.each([
    { status: 500, says: "failed with an error of its own (HTTP 500)." },
    { status: 503, says: "is overloaded." },
  ])("a target that answers $status is said to have failed as it did", async ({ status, says: sentence }) => {
    behave({ status });
    const last = await dispatcher.send(first).last;
    expect(last).toMatchObject({ type: "failed", error: { detail: `${first} ${sentence}` } });
  });

  it("turns that find their only target on trial wait for the trial, and are answered", async () => {
    behave([says(429, "slow_down", { "retry-after-ms": "300" }), { text: ["Back"], every: 150 }]);
    await dispatcher.send(first).last;
    const limited = hits(first);
    behave([says(429, "slow_down", { "retry-after-ms": "300" }), { text: ["Back"], every: 150 }]);
    first = freshTarget();
    const turns = Array.from({ length: 8 }, () => dispatcher.send(first));
    for (const turn of turns) expect((await turn.last).type).toBe("end");
    expect(limited).toBe(2);
  });
});
