import { describe, expect, it } from "vitest";
import { ENDPOINT, type Script } from "../support/runpod.ts";
import { tokens } from "../support/runpod-outputs.ts";
import { REQUEST, useRunpod } from "../support/runpod-setup.ts";

const { fake, at, ask } = useRunpod();

const running = (...puts: unknown[]) => ({ status: "IN_PROGRESS", puts });
const queued = { status: "IN_QUEUE" };

/** Which jobs were cancelled since. */
function watch() {
  const [jobs, cancelled, polls] = [fake().jobs.length, fake().cancelled.length, fake().polls.length];
  return {
    jobs: () =>
      fake()
        .jobs.slice(jobs)
        .map(({ id }) => id),
    cancelled: () => fake().cancelled.slice(cancelled),
    polls: () => fake().polls.length - polls,
  };
}

describe("a call that is given up", () => {
  it.each<{ when: string; script: Script; polls: number }>([
    { when: "in the queue", script: { life: [queued] }, polls: 2 },
    { when: "at work, before any text", script: { life: [running()] }, polls: 2 },
    { when: "in the middle of its answer", script: { life: [running(tokens(["Once"])), running()] }, polls: 2 },
    { when: "during a poll", script: { life: [running()], poll: () => "silence" }, polls: 1 },
    { when: "while the workers are asked for", script: { life: [queued], health: "silence" }, polls: 1 },
    { when: "where cancelling is refused", script: { life: [running()], cancel: { status: 500 } }, polls: 1 },
    { when: "where cancelling is cut", script: { life: [running()], cancel: "cut" }, polls: 1 },
    { when: "where cancelling is not answered", script: { life: [running()], cancel: "silence" }, polls: 1 },
  ])("$when ends at once, has its job cancelled once, and leaves no connection open", async ({ script, polls }) => {
    const seen = watch();
    const controller = new AbortController();
    const turn = ask(script, { signal: controller.signal });
    await expect.poll(seen.polls, { interval: 5 }).toBeGreaterThanOrEqual(polls);
    controller.abort();
    await expect(turn.all).rejects.toThrow();
    await expect.poll(seen.cancelled).toEqual(seen.jobs());
    await expect.poll(fake().open).toBe(0);
    expect(seen.cancelled()).toHaveLength(1);
  });

  it("before it began asks nobody for anything", async () => {
    const seen = watch();
    await expect(ask({}, { signal: AbortSignal.abort() }).all).rejects.toThrow();
    expect(seen.jobs()).toEqual([]);
  });

  it("while the job is being taken ends at once; the job is cancelled when its id is known", async () => {
    const seen = watch();
    const { promise: runAfter, resolve } = Promise.withResolvers<void>();
    const controller = new AbortController();
    const turn = ask({ life: [running()], runAfter }, { signal: controller.signal });
    await expect.poll(seen.jobs).toHaveLength(1);
    controller.abort();
    await expect(turn.all).rejects.toThrow();
    expect(seen.cancelled()).toEqual([]);
    resolve();
    await expect.poll(seen.cancelled).toEqual(seen.jobs());
    expect(seen.polls()).toBe(0);
  });

  it("while the job is never taken leaves no connection open in the end", async () => {
    const seen = watch();
    const controller = new AbortController();
    const turn = ask({ run: "silence" }, { signal: controller.signal });
    await expect.poll(seen.jobs).toHaveLength(1);
    controller.abort();
    await expect(turn.all).rejects.toThrow();
    await expect.poll(fake().open).toBe(0);
  });
});

it("a reader that leaves in the middle has the job cancelled", async () => {
  const seen = watch();
  fake().behave(() => ({ life: [queued, running("Once"), running()] }));
  for await (const event of at().provider(REQUEST, new AbortController().signal)) {
    if (event.type === "delta") break;
  }
  await expect.poll(seen.cancelled).toEqual(seen.jobs());
  expect(seen.cancelled()).toHaveLength(1);
});

it("a job that is over is not cancelled, also if its reader leaves before the end is told", async () => {
  const seen = watch();
  await ask({ life: [running("a"), { status: "COMPLETED" }] }).all;
  fake().behave(() => ({ life: [{ status: "COMPLETED" }], result: "All of it" }));
  for await (const _ of at().provider({ ...REQUEST, model: ENDPOINT }, new AbortController().signal)) break;
  expect(seen.jobs()).toHaveLength(2);
  await expect.poll(fake().open).toBe(0);
  expect(seen.cancelled()).toEqual([]);
});

it("a job that works without putting anything out gives no sign of life", async () => {
  const seen = watch();
  const controller = new AbortController();
  const turn = ask({ life: [queued, running()] }, { signal: controller.signal });
  await expect.poll(seen.polls).toBeGreaterThan(6);
  expect(turn.events).toEqual([
    { type: "head", status: 200 },
    { type: "status", status: "queued" },
  ]);
  controller.abort();
  await expect(turn.all).rejects.toThrow();
});
