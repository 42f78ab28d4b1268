import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { type Limits, type Watchdog, watchdog } from "../../src/models/watchdog.ts";

const LIMITS: Limits = { firstToken: 1_000, idle: 400, total: 10_000, life: 5_000 };

let dog: Watchdog;
beforeEach(() => {
  vi.useFakeTimers();
  dog = watchdog(LIMITS, new AbortController().signal);
});
afterEach(() => {
  dog.stop(true);
  expect(vi.getTimerCount(), "it leaves no timer").toBe(0);
  vi.useRealTimers();
});

/** Why it barked, after so many milliseconds more. */
function after(ms: number) {
  vi.advanceTimersByTime(ms);
  return dog.reason();
}

it("gives up a target that sends no head, or nothing behind it, in the time of a first text", () => {
  expect(after(999)).toBeUndefined();
  expect(after(1)).toBe("timeout_headers");
  expect(dog.signal.aborted).toBe(true);
});

it("takes the head alone for no sign of life", () => {
  after(500);
  dog.answers();
  expect(after(499)).toBeUndefined();
  expect(after(1)).toBe("timeout_first_token");
});

it("begins anew with each sign of life, for as long as those may hold it off, and no longer", () => {
  for (let ms = 0; ms < LIMITS.life; ms += 900) {
    expect(after(900)).toBeUndefined();
    dog.alive();
  }
  expect(after(99)).toBeUndefined(); // the last sign that counted came at 4,500
  expect(after(1)).toBe("timeout_first_token");
});

it("bears less silence once there was text, and measures it from one text to the next", () => {
  dog.speaks();
  for (let times = 0; times < 10; times++) {
    expect(after(399)).toBeUndefined();
    dog.alive();
  }
  expect(after(400)).toBe("timeout_idle");
});

it("ends everything when the whole time is up, however lively it is", () => {
  dog.speaks();
  for (let ms = 0; ms < 9_900; ms += 300) {
    expect(after(300)).toBeUndefined();
    dog.alive();
  }
  expect(after(100)).toBe("timeout_total");
});
