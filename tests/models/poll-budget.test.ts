import { expect, it } from "vitest";
import { createPollBudget } from "../../src/models/poll-budget.ts";

it("sends the first at once, and spreads the others over the second", () => {
  const budget = createPollBudget(() => 0);
  const waits = Array.from({ length: 151 }, budget.reserve);
  expect(waits[0]).toBe(0);
  expect(waits[1]).toBeCloseTo(1_000 / 150);
  expect(waits[150]).toBeCloseTo(1_000);
});

it("halves with each burst of refusals, never to nothing, and regains it while nothing is refused", () => {
  let now = 0;
  const budget = createPollBudget(() => now);
  expect(budget.rate()).toBe(150);
  for (let i = 0; i < 100; i++) budget.refused(0);
  expect(budget.rate()).toBe(75);
  for (let i = 0; i < 10; i++, now += 1_000) budget.refused(0);
  expect(budget.rate()).toBe(30);
  now += 60_000;
  expect(budget.rate()).toBe(150);
});

it("lets nobody through before the time that a refusal names", () => {
  const budget = createPollBudget(() => 0);
  budget.refused(300);
  expect(budget.reserve()).toBe(300);
});

it("lets go of a request whose caller leaves", async () => {
  const budget = createPollBudget();
  budget.refused(60_000);
  const leaving = new AbortController();
  const turn = budget.turn(leaving.signal);
  leaving.abort();
  await turn;
});
