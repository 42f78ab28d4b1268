import { describe, it, onTestFinished } from "vitest";
import { freshPostgres } from "../support/databases.ts";
import { PATIENT } from "../support/http-expect.ts";
import { startWire } from "../support/http-proxy.ts";
import { providerForTest, serviceForTest } from "../support/http-worlds.ts";
import { openRaw } from "../support/raw.ts";

const BODY = '{"message":"Hi","stream":true}';
const POST = "POST /api/chat/send HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
const ASK = `${POST}Content-Length: ${BODY.length}\r\n\r\n${BODY}`;

describe.each(["node", "bun"] as const)("%s with a Postgres that answers nothing", (runtime) => {
  it("says so with a 503, is well again without a restart, and stops in its time", {
    timeout: 120_000,
  }, async (test) => {
    const { expect } = test;
    const wire = await startWire(await freshPostgres());
    onTestFinished(() => wire.close());
    const provider = await providerForTest(test);
    const env = { DATABASE_TIMEOUT_MS: "1000", DRAIN_TIMEOUT_S: "1", DRAIN_NOTICE_MS: "0" };
    const service = await serviceForTest(test, { runtime, url: wire.url, provider, env });
    const ask = () => service.call("POST", "/api/chat/send", { message: "Hi" });
    const ready = async () => (await service.call("GET", "/health/ready")).status;
    expect((await ask()).status).toBe(200);

    wire.freeze();
    for (const refused of [await ask(), await service.call("GET", "/chats"), await ask()]) {
      expect(refused).toMatchObject({ status: 503, json: { code: "storage_unavailable" } });
      expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(0);
    }
    expect(await ready()).toBe(503);

    await wire.mend();
    await expect.poll(ready, PATIENT).toBe(200);
    expect((await ask()).status).toBe(200);

    provider.behave(() => ({ text: ["half"], afterwards: "stall" }));
    const heard = openRaw(service.url, ASK);
    await expect.poll(heard.text, PATIENT).toContain("half");
    wire.freeze();
    expect(await service.end("SIGTERM")).toBe(0);
  });
});
