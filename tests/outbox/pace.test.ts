import { describe, expect, it } from "vitest";
import { createReceiver, PACE, retryDelay } from "../../src/outbox/pace.ts";

const delay = (attempts: number, retryAfterMs: number | null = null, random = 0.5) =>
  retryDelay({ attempts, retryAfterMs, random }, PACE);

describe("a delivery that failed", () => {
  it("is tried again after a second, then after twice the time as before, up to a quarter of an hour", () => {
    expect([1, 2, 3, 4].map((attempts) => delay(attempts))).toEqual([1_000, 2_000, 4_000, 8_000]);
    expect([11, 100, 100_000].map((attempts) => delay(attempts))).toEqual([900_000, 900_000, 900_000]);
  });

  it("is tried up to a quarter of that time earlier or later, so that not all come at once", () => {
    expect([0, 1].map((random) => delay(3, null, random))).toEqual([3_000, 5_000]);
  });

  it("waits as long as the receiver asks for, as far as that is sane, and no less than by itself", () => {
    expect(delay(1, 30_000)).toBe(30_000);
    expect(delay(5, 1_000)).toBe(16_000);
    expect(delay(1, 86_400_000)).toBe(900_000);
  });
});

describe("a receiver", () => {
  function given() {
    const time = { now: 0 };
    const receiver = createReceiver(PACE, () => time.now);
    const fail = (times: number, retryAfterMs: number | null = null) => {
      for (let i = 0; i < times; i++) receiver.failed(retryAfterMs);
    };
    return { time, receiver, fail };
  }

  it("that fails eight times in a row is left alone for a while, and then sent one post at a time until it takes one", () => {
    const { time, receiver, fail } = given();
    fail(7);
    expect(receiver.room()).toBe(8);
    fail(1);
    expect(receiver.room()).toBe(0);
    time.now = 1_000;
    expect(receiver.room()).toBe(1);
    fail(1);
    time.now = 2_999;
    expect(receiver.room()).toBe(0);
    time.now = 3_000;
    expect(receiver.room()).toBe(1);
    receiver.took();
    expect(receiver.room()).toBe(8);
  });

  it("is never left alone for longer than half a minute by itself", () => {
    const { time, receiver, fail } = given();
    fail(1_000);
    time.now = 30_000;
    expect(receiver.room()).toBe(1);
  });

  it("that asks for time gets it", () => {
    const { time, receiver, fail } = given();
    fail(1, 5_000);
    expect(receiver.room()).toBe(0);
    time.now = 5_000;
    expect(receiver.room()).toBe(8);
  });

  it("that wants nothing more is sent nothing more", () => {
    const { time, receiver } = given();
    receiver.leave();
    time.now = Number.MAX_SAFE_INTEGER;
    expect(receiver.room()).toBe(0);
  });
});
