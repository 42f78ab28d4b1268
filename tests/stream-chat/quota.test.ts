import { beforeEach, describe, expect, it } from "vitest";
import { type CallKind, createQuota, type Quota } from "../../src/stream-chat/quota.ts";

const START = Date.UTC(2026, 10, 24);
let now: number;
let quota: Quota;
beforeEach(() => {
  now = START;
  quota = createQuota(() => now);
});

type Told = { limit?: number; remaining?: number; resetS?: number; status?: number; date?: number };

/** An answer of Stream, whose window ends in so many seconds by the clock here, or by Stream's own. */
function told(kind: CallKind, { limit = 1000, remaining = 900, resetS = 30, status = 200, date }: Told = {}) {
  const headers: Record<string, string> = {
    "x-ratelimit-limit": String(limit),
    "x-ratelimit-remaining": String(remaining),
    "x-ratelimit-reset": String((date ?? now) / 1000 + resetS),
    ...(date !== undefined && { date: new Date(date).toUTCString() }),
  };
  return quota.note(kind, { status, header: (name) => headers[name] });
}

/** How many live updates go out when one is tried every 10 ms for so long. */
function goOut(seconds: number): number {
  let count = 0;
  for (let i = 0; i < seconds * 100; i++) {
    if (quota.budget.tryTake("live")) count++;
    now += 10;
  }
  return count;
}

describe("what is left", () => {
  it("is what the answers tell, by kind, until the window is over", () => {
    expect(quota.left()).toEqual({});
    told("SendMessage", { remaining: 7 });
    told("UpdateMessage");
    expect(quota.left()).toEqual({
      SendMessage: { limit: 1000, remaining: 7, resetAt: START + 30_000 },
      UpdateMessage: { limit: 1000, remaining: 900, resetAt: START + 30_000 },
    });
    now += 30_000;
    expect(quota.left()).toEqual({});
  });

  it("is the least that was told within a window: answers overtake each other", () => {
    told("SendMessage", { remaining: 7 });
    told("SendMessage", { remaining: 9 });
    expect(quota.left().SendMessage?.remaining).toBe(7);
    now += 31_000;
    told("SendMessage", { remaining: 999, resetS: 60 });
    expect(quota.left().SendMessage?.remaining).toBe(999);
  });

  it("is not touched by answers that do not tell, or tell nonsense", () => {
    const nothing = { status: 502, header: () => undefined };
    const nonsense = { status: 200, header: () => "soon" };
    expect([quota.note("GetMessage", nothing), quota.note("GetMessage", nonsense)]).toEqual([null, null]);
    expect(quota.left()).toEqual({});
  });

  it("counts the time until a reset by Stream's clock, and never more than a window", () => {
    expect(told("GetMessage", { resetS: 20, date: START - 3_600_000 })).toBe(20_000);
    expect(told("GetMessage", { resetS: 900 })).toBe(60_000);
    expect(told("GetMessage", { resetS: -900 })).toBe(1_000);
  });
});

describe("the budget of message updates", () => {
  it("lets half a minute's updates go to growing answers, spread over the minute", () => {
    const first = goOut(1);
    expect(first).toBeGreaterThan(8);
    expect(first).toBeLessThan(18);
    expect(first + goOut(59)).toBeGreaterThan(495);
    expect(goOut(60)).toBeLessThanOrEqual(501);
  });

  it("learns from the headers how many these are", () => {
    told("UpdateMessageEphemeral", { limit: 120, remaining: 110, resetS: 60 });
    expect(goOut(59)).toBeGreaterThan(55);
    expect(goOut(60)).toBeLessThanOrEqual(61);
  });

  it("does not save up what was not used", () => {
    goOut(1);
    now += 600_000;
    let atOnce = 0;
    while (quota.budget.tryTake("live")) atOnce++;
    expect(atOnce).toBe(8);
  });

  it.each<CallKind>(["UpdateMessage", "UpdateMessageEphemeral"])(
    "gives nothing to growing answers while less than a quarter of %s is left, but to final updates",
    (kind) => {
      told(kind, { remaining: 250 });
      expect(quota.budget.tryTake("live")).toBe(true);
      told(kind, { remaining: 249 });
      expect([quota.budget.tryTake("live"), quota.budget.tryTake("final")]).toEqual([false, true]);
      now += 30_000;
      expect(quota.budget.tryTake("live")).toBe(true);
    },
  );

  it("gives nothing to growing answers after a 429 until its reset, or a minute where that is not said", () => {
    told("UpdateMessageEphemeral", { status: 429, remaining: 900, resetS: 20 });
    now += 19_999;
    expect(quota.budget.tryTake("live")).toBe(false);
    now += 1;
    expect(quota.budget.tryTake("live")).toBe(true);
    quota.note("UpdateMessage", { status: 429, header: () => undefined });
    now += 59_999;
    expect(quota.budget.tryTake("live")).toBe(false);
    now += 1;
    expect(quota.budget.tryTake("live")).toBe(true);
  });

  it("does not mind what other calls may", () => {
    told("SendMessage", { status: 429, remaining: 0 });
    expect(quota.budget.tryTake("live")).toBe(true);
  });

  it("counts final updates, which are never refused, and holds growing answers back for them a minute at most", () => {
    const finals = Array.from({ length: 5_000 }, () => quota.budget.tryTake("final"));
    expect(finals.every(Boolean)).toBe(true);
    expect(goOut(59)).toBe(0);
    expect(goOut(2)).toBeGreaterThan(0);
  });
});
