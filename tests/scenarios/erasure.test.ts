import { randomUUID } from "node:crypto";
import { describe, expect, it } from "vitest";
import { databases } from "../support/databases.ts";
import { type Scene, sayEverywhere, timesOnDisk } from "../support/erasure-scene.ts";
import { PATIENT } from "../support/http-expect.ts";
import { providerForTest, serviceForTest } from "../support/http-worlds.ts";
import type { Service } from "../support/service.ts";

const asked = (service: Service): Scene["call"] => {
  return (_, method, path, body, key) =>
    service.call(method, path, body, key === undefined ? {} : { "idempotency-key": key });
};

describe.each(["node", "bun"] as const)("what was deleted, on %s", (runtime) => {
  it.for(["SIGKILL", "SIGTERM"] as const)("is in no file any more after %s and a start", async (signal, test) => {
    const [provider, url] = [await providerForTest(test), await databases[0].fresh()];
    const word = `Quokka${randomUUID()}`;
    const service = await serviceForTest(test, { runtime, url, provider });
    const { id } = await sayEverywhere({ call: asked(service) }, ["anonymous"], word);
    expect(timesOnDisk(url, word)).toBeGreaterThan(0);
    expect((await service.call("DELETE", `/chats/${id}`)).status).toBe(204);
    await service.end(signal);
    expect(timesOnDisk(url, word) > 0).toBe(signal === "SIGKILL"); // in its log
    await serviceForTest(test, { runtime, url, provider });
    await expect.poll(() => timesOnDisk(url, word), PATIENT).toBe(0);
  });
});
