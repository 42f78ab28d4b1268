import type { Socket } from "node:net";
import { describe, it } from "vitest";
import { as, SECRET } from "../support/app.ts";
import { attacksOn } from "../support/bounds-attacks.ts";
import { fillWithLongest } from "../support/bounds-database.ts";
import { editTheLongest } from "../support/bounds-edits.ts";
import { type Seen, watchService } from "../support/bounds-watch.ts";
import { databases } from "../support/databases.ts";
import { PATIENT } from "../support/http-expect.ts";
import { providerForTest } from "../support/http-worlds.ts";
import { startService } from "../support/service.ts";
import { hasProc, memoryOf } from "../support/story-process.ts";

const MAY_GROW = 300 * 2 ** 20;
const MAY_BE_SILENT_MS = 1_000;
const TURNS = 20;
/** How often the service must have said that it lives before its memory is looked at for the last time. */
const ANSWERS = 40;

// One after the other: memory and silence are measured.
describe.skipIf(!hasProc).each(["node", "bun"] as const)("on %s", { timeout: 120_000 }, (runtime) => {
  it("one user with the longest messages cannot fill the memory or stop the service for others", async (test) => {
    const { expect } = test;
    const url = await databases[0].fresh();
    const filled = await fillWithLongest(url, { user: "alice", messages: 300, threads: TURNS });
    const provider = await providerForTest(test);
    provider.behave(() => ({ headersAfter: Infinity }));
    const service = await startService(runtime, {
      DATABASE_URL: url,
      JWT_SECRET: SECRET,
      RATE_LIMIT: "off", // one who has the time to stay below it can do all the same
      OPENAI_BASE_URL: provider.openaiUrl,
      MODELS: "balanced=openai/gpt-6",
      STREAM_API_KEY: "key",
      STREAM_SECRET: "secret",
      STREAM_BASE_URL: provider.openaiUrl,
    });
    test.onTestFinished(async () => void (await service.end("SIGKILL")));
    const alice = await as("alice");
    for (let i = 0; i < 20; i++)
      await service.call("GET", `/chats/${filled.thread}/messages?limit=20`, undefined, alice);

    const edited = await editTheLongest(service, alice);
    const target = { url: service.url, authorization: `Authorization: ${alice["authorization"]}`, ...filled, edited };
    const before = memoryOf(service.pid);
    const all: Record<string, Seen> = {};
    for (const { what, begin } of attacksOn({ ...target, turned: filled.threads })) {
      const stop = await watchService(service, before);
      const sockets: Socket[] = await begin();
      if (what.startsWith("turns")) await expect.poll(() => provider.busy(), PATIENT).toBe(TURNS);
      const seen = await stop(ANSWERS);
      for (const socket of sockets) socket.destroy();
      all[what] = seen;
    }
    console.info(table(runtime, all));
    for (const [what, { grownBy, silentMs }] of Object.entries(all)) {
      expect(grownBy, what).toBeLessThan(MAY_GROW);
      expect(silentMs, what).toBeLessThan(MAY_BE_SILENT_MS);
    }
  });
});

function table(runtime: string, all: Record<string, Seen>): string {
  const lines = Object.entries(all).map(
    ([what, { grownBy, silentMs }]) => `| ${what} | ${Math.round(grownBy / 2 ** 20)} | ${Math.round(silentMs)} |`,
  );
  return [`| on ${runtime} | MiB more | ms silent |`, "| --- | ---: | ---: |", ...lines].join("\n");
}
