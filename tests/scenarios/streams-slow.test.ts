import { describe, it } from "vitest";
import { databases } from "../support/databases.ts";
import { PATIENT } from "../support/http-expect.ts";
import { providerForTest, serviceForTest } from "../support/http-worlds.ts";
import { makeChat, tell } from "../support/kill-scene.ts";
import { hasProc, markedEnv, memoryOf, pidOf } from "../support/story-process.ts";
import { createGate } from "../support/stream-gate.ts";
import { type Reading, readStream } from "../support/stream-reader.ts";

const PIECE = "0123456789abcde\n".repeat(65_536);
const PIECES = Array.from({ length: 12 }, (_, i) => `${i}:${PIECE}`);
const LONG = PIECES.join("");
const SLOW = 30;
/** What so many may cost together, in bytes: a third of what there is for them; a socket takes a quarter by itself. */
const MAY_COST = (SLOW * LONG.length) / 3;
/** That a service on a busy machine may take longer for so many readers, in milliseconds. */
const A_WHILE_MS = 3_000;

// One after the other: memory and time are measured.
describe.skipIf(!hasProc).each(["node", "bun"] as const)("on %s", { timeout: 100_000 }, (runtime) => {
  it("readers that do not read hold up neither the turn nor another reader, and cost bounded memory", async (test) => {
    const { expect } = test;
    const env = markedEnv();
    const provider = await providerForTest(test);
    const [{ fresh }] = databases;
    const service = await serviceForTest(test, { runtime, url: await fresh(), provider, env });
    const pid = pidOf(env);
    const readings: Reading[] = [];
    test.onTestFinished(() => {
      for (const reading of readings) reading.drop();
    });
    const slowReader = async (turnId: string | undefined) => {
      const reading = await readStream(service.url, { path: `/api/v1/turns/${turnId}/stream` });
      reading.pause();
      readings.push(reading);
      return reading;
    };
    /** Milliseconds that the long answer takes to reach a reader who reads, beside so many who do not. */
    const timeBeside = async (slow: number) => {
      const gate = createGate(PIECES);
      provider.behave(() => gate.script);
      const { reading } = await tell(service, await makeChat(service), "at length");
      for (let i = 0; i < slow; i++) await slowReader(reading.heard.turnId);
      const began = performance.now();
      gate.open();
      expect(await reading.over).toEqual({ whole: true });
      expect(reading.heard.end?.event).toBe("turn.completed");
      expect(reading.heard.text === LONG).toBe(true);
      return { ms: performance.now() - began, turnId: reading.heard.turnId };
    };

    const alone = await timeBeside(0);
    // What a runtime keeps once it has had so much to do is no reader's.
    const kept: number[] = [];
    for (let warmup = 0; warmup < 2; warmup++) {
      await timeBeside(SLOW);
      kept.push(memoryOf(pid));
    }
    const before = Math.max(...kept);
    const beside = await timeBeside(SLOW);
    expect(beside.ms).toBeLessThan(3 * alone.ms + A_WHILE_MS);
    await expect.poll(() => memoryOf(pid) - before, PATIENT).toBeLessThan(MAY_COST);

    for (const late of [readings[0], readings.at(-1)]) {
      late?.goOn();
      expect(await late?.over).toEqual({ whole: true });
      expect(late?.heard.text === LONG).toBe(true);
    }
  });
});
