import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { databases } from "../support/databases.ts";
import { ENDPOINT, type FakeRunpod, startRunpod } from "../support/runpod.ts";
import { KEY } from "../support/runpod-outputs.ts";
import { type Service, startService } from "../support/service.ts";

/** What RunPod's documents allow an endpoint: 2,000 polls in ten seconds. */
const ALLOWED_A_SECOND = 200;

describe.each(["node", "bun"] as const)("on %s", { timeout: 120_000 }, (runtime) => {
  let fake: FakeRunpod;
  let service: Service;
  beforeEach(async () => {
    fake = await startRunpod();
    service = await startService(runtime, {
      DATABASE_URL: await databases[0].fresh(),
      SQLITE_SYNCHRONOUS: "normal",
      RUNPOD_API_KEY: KEY,
      RUNPOD_ENDPOINT_ID: ENDPOINT,
      RUNPOD_BASE_URL: fake.url,
    });
  });
  afterEach(async () => {
    await service.end("SIGKILL");
    await fake.close();
  });

  it.each([
    { turns: 256, what: "the documented limit", allowed: ALLOWED_A_SECOND },
    { turns: 64, what: "a tenth of it, since others poll the endpoint too", allowed: ALLOWED_A_SECOND / 10 },
  ])("$turns turns at once are all answered, each once, within $what", async ({ turns, allowed }) => {
    fake.limit(allowed);
    const sent = await Promise.all(
      Array.from({ length: turns }, (_, i) => service.call("POST", "/api/chat/send", { message: `number ${i}` })),
    );
    expect(sent.map(({ json }) => json.message)).toEqual(sent.map((_, i) => `Echo: number ${i}`));
    expect(fake.jobs, "no job was begun twice").toHaveLength(turns);
    expect(fake.cancelled).toEqual([]);
  });
});
