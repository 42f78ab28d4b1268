import { describe, it } from "vitest";
import { databases } from "../support/databases.ts";
import { PATIENT } from "../support/http-expect.ts";
import { providerForTest, serviceForTest } from "../support/http-worlds.ts";
import type { Service } from "../support/service.ts";
import { readSession, type SessionReader } from "../support/session-reader.ts";
import { hasProc, markedEnv, memoryOf, pidOf } from "../support/story-process.ts";
import { readStream } from "../support/stream-reader.ts";

const SLOW = 20;
/** More than may wait for a reader, in events and in text. */
const MESSAGES = 600;
const TEXT = "0123456789abcde\n".repeat(2_500);
/** What so many may cost together, in bytes: a third of what there is for them; a socket takes a part by itself. */
const MAY_COST = (SLOW * MESSAGES * TEXT.length) / 3;

// One after the other: memory is measured.
describe.skipIf(!hasProc).each(["node", "bun"] as const)("on %s", (runtime) => {
  it("readers of a session that do not read cost bounded memory and miss nothing; all streams end when the service stops", async (test) => {
    const { expect } = test;
    const env = markedEnv();
    const provider = await providerForTest(test);
    const service = await serviceForTest(test, { runtime, url: await databases[0].fresh(), provider, env });
    const pid = pidOf(env);
    const read = async (id: string) => {
      const reader = await readSession(service, id);
      test.onTestFinished(() => reader.reading.drop());
      return reader;
    };
    const fill = async (id: string, quick: SessionReader) => {
      const rev = quick.lastId + MESSAGES;
      for (let i = 0; i < MESSAGES; i += 10) await Promise.all(Array.from({ length: 10 }, () => say(service, id)));
      await expect.poll(() => quick.lastId, PATIENT).toBe(rev);
      quick.messages.clear();
      return rev;
    };

    const id: string = (await service.call("POST", "/api/v1/sessions")).json.id;
    const quick = await read(id);
    await fill(id, quick); // what a runtime keeps once it has had so much to do is no reader's
    const slow = await Promise.all(Array.from({ length: SLOW }, () => readSession(service, id, quick.lastId)));
    for (const { reading } of slow) reading.pause();
    const before = memoryOf(pid);
    const rev = await fill(id, quick);
    await expect.poll(() => memoryOf(pid) - before, PATIENT).toBeLessThan(MAY_COST);

    const [first, last] = [slow[0], slow.at(-1)];
    for (const reader of slow) if (reader !== first && reader !== last) reader.reading.drop();
    for (const reader of [first, last]) {
      reader?.reading.goOn();
      await expect.poll(() => reader?.lastId, PATIENT).toBe(rev);
      expect(reader?.messages.size).toBe(MESSAGES);
      expect(reader?.wrongs).toEqual([]);
    }

    const agent = await readStream(service.url, { path: "/api/v1/agents/grace/events" });
    expect(await service.end("SIGTERM")).toBe(0);
    for (const reading of [quick.reading, agent]) expect(await reading.over).toEqual({ whole: true });
  });
});

const say = (service: Service, id: string) =>
  service.call("POST", `/api/v1/sessions/${id}/messages`, { content: TEXT, sender_type: "agent", sender_id: "grace" });
