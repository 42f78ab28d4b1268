import { beforeEach, describe, expect, it } from "vitest";
import type { Outcome } from "../../src/core/model.ts";
import { type Breaker, createBreaker, type Pass } from "../../src/models/breaker.ts";

const T = "openai/a-model";
let now: number;
let breaker: Breaker;
beforeEach(() => {
  now = 50_000;
  breaker = createBreaker(() => now, new Set([T]));
});

function enter(target = T): Pass {
  const pass = breaker.enter(target);
  if (!pass) throw new Error(`no pass; the circuit is ${breaker.state(target)}`);
  return pass;
}

/** One call that ends so. */
function call(outcome: Outcome, retryAfterMs: number | null = null): void {
  enter().end(outcome, retryAfterMs);
}

function fail(times: number): void {
  for (let n = 0; n < times; n++) call("overloaded");
}

/** Fails every probe at the moment it is due; gives the cooldown before each. */
function cooldowns(count: number): number[] {
  return Array.from({ length: count }, () => {
    const ms = breaker.waitMs(T);
    now += ms;
    call("overloaded");
    return ms;
  });
}

describe("a circuit", () => {
  it("is closed for a target nobody has called", () => {
    expect([breaker.state(T), breaker.waitMs(T)]).toEqual(["closed", 0]);
  });

  it("opens after three failures in a row, for a second", () => {
    fail(2);
    expect(breaker.state(T)).toBe("closed");
    fail(1);
    expect([breaker.state(T), breaker.waitMs(T), breaker.enter(T)]).toEqual(["open", 1_000, undefined]);
    now += 999;
    expect(breaker.enter(T)).toBeUndefined();
  });

  it("counts failures in a row only: a whole answer forgets them", () => {
    fail(2);
    call("completed");
    fail(2);
    expect(breaker.state(T)).toBe("closed");
  });

  it("is each target's own", () => {
    fail(3);
    expect([breaker.state("groq/other"), breaker.waitMs("groq/other")]).toEqual(["closed", 0]);
  });

  it.each<Outcome>([
    "overloaded",
    "connect",
    "rate_limited",
    "timeout_headers",
    "timeout_first_token",
    "timeout_idle",
    "stream_cut",
    "stream_incomplete",
    "auth",
    "quota_exhausted",
    "model_gone",
  ])("opens after three times %s", (outcome) => {
    for (let n = 0; n < 3; n++) call(outcome);
    expect(breaker.state(T)).toBe("open");
  });

  it.each<Outcome>(["bad_request", "context_length", "content_filter", "completed"])(
    "is not moved by %s, which shows that the target is well",
    (outcome) => {
      fail(2);
      for (let n = 0; n < 5; n++) call(outcome);
      fail(2);
      expect(breaker.state(T)).toBe("closed");
    },
  );

  it.each<Outcome>(["cancelled", "timeout_total"])("learns nothing from %s", (outcome) => {
    fail(2);
    call(outcome);
    expect(breaker.state(T)).toBe("closed");
    fail(1);
    expect(breaker.state(T)).toBe("open");
  });

  it("lets one probe through when its time is up, and nobody else until it is back", () => {
    fail(3);
    now += 1_000;
    expect([breaker.state(T), breaker.waitMs(T)]).toEqual(["half_open", 0]);
    const probe = enter();
    expect([breaker.state(T), breaker.enter(T)]).toEqual(["half_open", undefined]);
    expect(breaker.waitMs(T)).toBeGreaterThan(0);
    probe.end("completed", null);
    expect(breaker.state(T)).toBe("closed");
  });

  it("closes with the first text of its probe, not only when a long answer is over", () => {
    fail(3);
    now += 1_000;
    enter().speaks();
    expect(breaker.state(T)).toBe("closed");
    enter();
    enter();
  });

  it("opens again, for longer, where the probe that spoke then breaks off", () => {
    fail(3);
    now += 1_000;
    const probe = enter();
    probe.speaks();
    probe.end("stream_cut", null);
    expect([breaker.state(T), breaker.waitMs(T)]).toEqual(["open", 2_000]);
  });

  it("stays open for longer with every probe that fails, up to 4 s, so that a target that is well is soon back", () => {
    fail(3);
    expect(cooldowns(5)).toEqual([1_000, 2_000, 4_000, 4_000, 4_000]);
  });

  it("is hit at most once per cooldown, however many want to", () => {
    fail(3);
    let hits = 0;
    for (const end = now + 20_000; now < end; now += 50) {
      for (let n = 0; n < 10; n++) {
        const pass = breaker.enter(T);
        if (pass) hits++;
        pass?.end("timeout_headers", null);
      }
    }
    expect(hits).toBe(6); // at 1, 3, 7, 11, 15 and 19 s
  });

  it("begins with short cooldowns again after a whole answer", () => {
    fail(3);
    cooldowns(4);
    now += 30_000;
    call("completed");
    fail(3);
    expect(breaker.waitMs(T)).toBe(1_000);
  });

  it("tries the next caller where its probe was cancelled", () => {
    fail(3);
    now += 1_000;
    call("cancelled");
    expect(breaker.state(T)).toBe("half_open");
    call("completed");
    expect(breaker.state(T)).toBe("closed");
  });

  it("is not held open for longer by calls that were under way when it opened", () => {
    const under = Array.from({ length: 10 }, () => enter());
    for (const pass of under) pass.end("overloaded", null);
    expect(breaker.waitMs(T)).toBe(1_000);
  });

  it("opens at the first 429 that says for how long, for so long", () => {
    call("rate_limited", 7_000);
    expect([breaker.state(T), breaker.waitMs(T)]).toEqual(["open", 7_000]);
    now += 7_000;
    call("completed");
    expect(breaker.state(T)).toBe("closed");
  });

  it("keeps to the longest of several, but to none for more than five minutes", () => {
    const [one, two, three] = [enter(), enter(), enter()];
    one.end("rate_limited", 7_000);
    two.end("rate_limited", 2_000);
    expect(breaker.waitMs(T)).toBe(7_000);
    three.end("rate_limited", 86_400_000);
    expect(breaker.waitMs(T)).toBe(300_000);
  });

  it("of a target that nobody configured is forgotten before there are too many of them", () => {
    for (let n = 0; n < 3; n++) enter("openai/first").end("overloaded", null);
    expect(breaker.state("openai/first")).toBe("open");
    for (let n = 0; n < 2_000; n++) enter(`openai/made-up-${n}`).end("model_gone", null);
    expect(breaker.state("openai/first")).toBe("closed");
  });

  it("of a configured target is not pushed out by names that requests make up", () => {
    fail(3);
    for (let n = 0; n < 2_000; n++) enter(`openai/made-up-${n}`).end("model_gone", null);
    expect(breaker.state(T)).toBe("open");
  });
});
