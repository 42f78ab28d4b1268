import { describe, it } from "vitest";
import { databases } from "../support/databases.ts";
import { PATIENT } from "../support/http-expect.ts";
import { providerForTest, serviceForTest } from "../support/http-worlds.ts";
import { makeChat, tell } from "../support/kill-scene.ts";
import { hasProc, markedEnv, memoryOf, pidOf } from "../support/story-process.ts";
import { createGate } from "../support/stream-gate.ts";
import { type Reading, readStream } from "../support/stream-reader.ts";

const PIECE = "0123456789abcde\n".repeat(20_000);
const PIECES = Array.from({ length: 12 }, (_, i) => `${i}:${PIECE}`);
const LONG = PIECES.join("");
const SLOW = 90;
/** What so many may cost together, in bytes: a third of what there is for them; a socket takes a quarter by itself. */
const MAY_COST = (SLOW * LONG.length) / 3;

// One after the other: memory is measured.
describe.skipIf(!hasProc).each(["node", "bun"] as const)("on %s", (runtime) => {
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
    /** The long answer reaches a reader who reads while so many others do not. */
    const answerBeside = async (slow: number) => {
      const gate = createGate(PIECES);
      provider.behave(() => gate.script);
      const { reading } = await tell(service, await makeChat(service), "at length");
      for (let i = 0; i < slow; i++) await slowReader(reading.heard.turnId);
      gate.open();
      expect(await reading.over).toEqual({ whole: true });
      expect(reading.heard.end?.event).toBe("turn.completed");
      expect(reading.heard.text === LONG).toBe(true);
    };

    // What a runtime keeps once it has had so much to do is no reader's.
    const kept: number[] = [];
    for (let warmup = 0; warmup < 2; warmup++) {
      await answerBeside(SLOW);
      kept.push(memoryOf(pid));
    }
    const before = Math.max(...kept);
    await answerBeside(SLOW);
    await expect.poll(() => memoryOf(pid) - before, PATIENT).toBeLessThan(MAY_COST);

    for (const late of [readings[0], readings.at(-1)]) {
      late?.goOn();
      expect(await late?.over).toEqual({ whole: true });
      expect(late?.heard.text === LONG).toBe(true);
    }
  });
});
