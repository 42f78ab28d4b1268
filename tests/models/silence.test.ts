import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Timeouts } from "../../src/models/dispatch.ts";
import { type Dispatcher, onlyAttempt, runtimes, startDispatcher } from "../support/models-dispatch.ts";
import { type Provider, type Script, startProvider } from "../support/provider.ts";

const TARGET = "openai/a-model";
const LONG = Array.from({ length: 500 }, (_, n) => `${n} `);

describe.each(runtimes)("an answer that stays out on %s", (runtime) => {
  let provider: Provider;
  let patient: Dispatcher;
  beforeAll(async () => {
    provider = await startProvider();
    patient = startDispatcher(runtime, provider);
  });
  afterAll(async () => {
    await patient.stop();
    await provider.close();
  });

  /** Runs a turn with these timeouts; each dispatcher has to end by itself afterwards. */
  async function run(script: Script, timeouts: Partial<Timeouts>) {
    provider.behave(() => script);
    const dispatcher = startDispatcher(runtime, provider, timeouts);
    const turn = dispatcher.send(TARGET);
    const last = await turn.last;
    await expect.poll(provider.busy).toBe(0); // the dispatcher lives on: it is the call that was given up
    expect(await dispatcher.stop()).toBe(0);
    return { last, text: turn.text() };
  }

  it.each<{ what: string; script: Script; outcome: string }>([
    { what: "before the headers", script: { headersAfter: Infinity }, outcome: "timeout_headers" },
    { what: "before the first word", script: { text: [], afterwards: "stall" }, outcome: "timeout_first_token" },
  ])("$what is $outcome, told as provider_timeout", async ({ script, outcome }) => {
    const { last } = await run(script, { lastFirstToken: 2_000 });
    expect(last).toMatchObject({ type: "failed", target: TARGET, error: { code: "provider_timeout" } });
    expect(onlyAttempt(last).outcome).toBe(outcome);
  });

  it("in its middle is timeout_idle, told as provider_timeout, and what came is told", async () => {
    const { last, text } = await run({ text: ["Once", " upon"], together: true, afterwards: "stall" }, { idle: 300 });
    expect(last).toMatchObject({ type: "failed", error: { code: "provider_timeout" } });
    expect([onlyAttempt(last).outcome, text]).toEqual(["timeout_idle", "Once upon"]);
  });

  it("past its whole time is timeout_total, however lively, and what came is told", async () => {
    const { last, text } = await run({ text: LONG, every: 50 }, { total: 4_000 });
    expect(last).toMatchObject({ type: "failed", error: { code: "provider_timeout" } });
    expect(onlyAttempt(last).outcome).toBe("timeout_total");
    expect(text).toMatch(/^0 1 2 /);
    expect(text).not.toContain("499");
  });

  it("while comments say that the request is queued is whole", async () => {
    const { last, text } = await run({ comments: 12, every: 100, text: ["At last"] }, { lastFirstToken: 800 });
    expect([last.type, text]).toEqual(["end", "At last"]);
  });

  it("never longer than a token's time is whole, though all of it takes longer", async () => {
    const { last, text } = await run({ text: LONG.slice(0, 12), every: 300 }, { idle: 3_000 });
    expect(last.type).toBe("end");
    expect(text).toBe(LONG.slice(0, 12).join(""));
  });

  it("because the connection broke is stream_cut, told as provider_failed, and what came is told", async () => {
    provider.behave(() => ({ text: ["Once", " upon"], afterwards: "stall" }));
    const turn = patient.send(TARGET);
    await expect.poll(turn.text).toBe("Once upon");
    provider.cut();
    const last = await turn.last;
    expect(last).toMatchObject({ type: "failed", target: TARGET, error: { code: "provider_failed" } });
    expect(onlyAttempt(last)).toMatchObject({ outcome: "stream_cut", usage: { estimated: true } });
    expect(turn.text()).toBe("Once upon");
    await expect.poll(provider.busy).toBe(0);
  });

  it("is closed at once when it is cancelled before the headers", async () => {
    provider.behave(() => ({ headersAfter: Infinity }));
    const [asked, left] = [provider.asked.length, provider.left()];
    const turn = patient.send(TARGET);
    await expect.poll(() => provider.asked.length).toBe(asked + 1);
    turn.cancel();
    const last = await turn.last;
    expect(last).toMatchObject({ type: "failed", error: { code: "turn_cancelled" } });
    expect(onlyAttempt(last).outcome).toBe("cancelled");
    await expect.poll(provider.left).toBe(left + 1);
    await expect.poll(provider.busy).toBe(0);
  });

  it("is closed at once when it is cancelled in its middle, and keeps what came", async () => {
    provider.behave(() => ({ text: LONG, every: 20 }));
    const left = provider.left();
    const turn = patient.send(TARGET);
    await expect.poll(turn.text).toContain("3 ");
    turn.cancel();
    const last = await turn.last;
    expect(last).toMatchObject({ type: "failed", error: { code: "turn_cancelled" } });
    expect(onlyAttempt(last).outcome).toBe("cancelled");
    expect(turn.text()).toMatch(/^0 1 2 3 /);
    await expect.poll(provider.left).toBe(left + 1);
    await expect.poll(provider.busy).toBe(0);
  });

  it("stops that turn alone when it is cancelled", async () => {
    provider.behave(({ body }) => (body.model === "stalls" ? { text: ["I am"], afterwards: "stall" } : { every: 30 }));
    const stalled = patient.send("openai/stalls");
    const other = patient.send(TARGET, "one two three four five");
    await expect.poll(stalled.text).toBe("I am");
    stalled.cancel();
    expect(await stalled.last).toMatchObject({ type: "failed", error: { code: "turn_cancelled" } });
    expect((await other.last).type).toBe("end");
    expect(other.text()).toBe("Echo: one two three four five");
  });
});
