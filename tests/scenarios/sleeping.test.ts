import { readFileSync } from "node:fs";
import { describe, it } from "vitest";
import { databases } from "../support/databases.ts";
import { PATIENT } from "../support/http-expect.ts";
import { providerForTest, serviceForTest } from "../support/http-worlds.ts";

const STOPPED = /^State:\s+T/m;

// A laptop's lid, a paused container: every timer fires at once when the process goes on.
describe.each(["node", "bun", "binary"] as const)("on %s", (runtime) => {
  it("an answer that came while the process was stopped is whole, not silent for too long", async (test) => {
    const { expect } = test;
    const provider = await providerForTest(test);
    const url = await databases[0].fresh();
    const service = await serviceForTest(test, { runtime, url, provider, env: { IDLE_TIMEOUT_MS: "2000" } });
    const rest = Promise.withResolvers<void>();
    provider.behave(() => ({
      text: ["Before", " and after"],
      before: (i) => (i === 1 ? rest.promise : Promise.resolve()),
    }));
    const answer = service.call("POST", "/api/chat/send", { message: "sleep" });
    await expect.poll(provider.busy, PATIENT).toBe(1);
    process.kill(service.pid, "SIGSTOP");
    await expect.poll(() => readFileSync(`/proc/${service.pid}/status`, "utf8"), PATIENT).toMatch(STOPPED);
    rest.resolve();
    await expect.poll(provider.busy, PATIENT).toBe(0); // the rest of the answer is in the socket
    await new Promise((resolve) => setTimeout(resolve, 2_500)); // longer than the silence that is borne
    process.kill(service.pid, "SIGCONT");
    expect((await answer).json).toMatchObject({ message: "Before and after" });
  });
});
