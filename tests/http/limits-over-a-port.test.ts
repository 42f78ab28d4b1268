import { request } from "node:http";
import { describe, expect, it } from "vitest";
import { as, SECRET } from "../support/app.ts";
import { databases } from "../support/databases.ts";
import { PATIENT } from "../support/http-expect.ts";
import { providerForTest, serviceForTest } from "../support/http-worlds.ts";
import type { Service } from "../support/service.ts";

/** What `GET /` over a connection from that address of loopback says is left of the rate. */
function remainingFrom(localAddress: string, { url }: Service, headers: Record<string, string> = {}): Promise<number> {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(url);
    const asked = request({ host: hostname, port, path: "/", localAddress, headers, agent: false }, (response) => {
      response.resume();
      resolve(Number(/r=(\d+)/.exec(String(response.headers["ratelimit"]))?.[1]));
    });
    asked.on("error", reject);
    asked.end();
  });
}

describe.each(["node", "bun"] as const)("over a port, on %s,", (runtime) => {
  it("requests are counted by the address of their connection, or the one that a proxy adds; streams of who has left are free", async (test) => {
    const provider = await providerForTest(test);
    provider.behave(() => ({ text: ["Half"], afterwards: "stall" }));
    const env = { JWT_SECRET: SECRET, HOST: "127.0.0.1", RATE_LIMIT: "100/h", MAX_STREAMS_PER_USER: "2" };
    const start = async (more = {}) =>
      serviceForTest(test, { runtime, url: await databases[0].fresh(), provider, env: { ...env, ...more } });
    const [service, behind] = await Promise.all([start(), start({ TRUST_PROXY: "1" })]);

    expect(await remainingFrom("127.0.0.1", service)).toBe(99);
    expect(await remainingFrom("127.0.0.1", service, { "x-forwarded-for": "192.0.2.1" })).toBe(98);
    if (process.platform === "linux") {
      expect(await remainingFrom("127.0.0.2", service)).toBe(99); // other systems have but one such address
    }

    expect(await remainingFrom("127.0.0.1", behind)).toBe(99);
    expect(await remainingFrom("127.0.0.1", behind, { "x-forwarded-for": "6.6.6.6, 192.0.2.1" })).toBe(99);
    expect(await remainingFrom("127.0.0.1", behind, { "x-forwarded-for": "7.7.7.7, 192.0.2.1" })).toBe(98);

    const user = { "content-type": "application/json", ...(await as("ann")) };
    const body = JSON.stringify({ message: "Hello", stream: true });
    const send = async (leaving?: AbortController) => {
      const init = { method: "POST", headers: user, body, ...(leaving && { signal: leaving.signal }) };
      return fetch(`${service.url}/api/chat/send`, init);
    };
    const leaving = [new AbortController(), new AbortController()];
    for (const controller of leaving) expect((await send(controller)).status).toBe(200);
    expect((await send()).status).toBe(429);
    for (const controller of leaving) controller.abort();
    for (const _ of leaving)
      await expect.poll(async () => (await send()).status, { ...PATIENT, interval: 50 }).toBe(200);
  });
});
