import { createHash } from "node:crypto";
import { describe, it, type TestContext } from "vitest";
import { databases } from "../support/databases.ts";
import {
  bearer,
  type IssuerKey,
  issuerKey,
  type KeyAnswer,
  now,
  signBy,
  silent,
  startKeyServer,
} from "../support/http-keys.ts";
import { providerForTest, serviceForTest } from "../support/http-worlds.ts";
import type { Runtime } from "../support/service.ts";

const KEY = "a-key-of-the-tests";
const API_KEYS = `crm:user:${createHash("sha256").update(KEY).digest("hex")}`;

async function givenService(test: TestContext, runtime: Runtime, answer: KeyAnswer) {
  const server = await startKeyServer(answer);
  test.onTestFinished(() => server.close());
  const provider = await providerForTest(test);
  const env = { HOST: "127.0.0.1", JWT_JWKS_URL: server.url, JWT_AUDIENCE: "parley", API_KEYS };
  const service = await serviceForTest(test, { runtime, url: await databases[0].fresh(), provider, env });
  const statusOf = async (token: string) => (await service.call("POST", "/chats", {}, bearer(token))).status;
  const told = () =>
    service.logged.filter((line) => line.includes('"level":"error"') && !line.includes('"msg":"request"'));
  return { server, service, statusOf, told };
}

const tokenOf = (key: IssuerKey, aud = "parley") => signBy(key, { sub: "ann", exp: now() + 3600, aud });

describe.concurrent.each(["node", "bun"] as const)("on %s", (runtime) => {
  it("tokens of a key set are believed, also once the key server is gone", async (test) => {
    const { expect } = test;
    const [rsa, ec] = [await issuerKey("RS256", "rsa"), await issuerKey("ES256", "ec")];
    const { server, service, statusOf } = await givenService(test, runtime, [rsa.jwk, ec.jwk]);
    expect([await statusOf(await tokenOf(rsa)), await statusOf(await tokenOf(ec))]).toEqual([201, 201]);
    expect([await statusOf(await tokenOf(rsa, "other")), await statusOf(KEY)]).toEqual([401, 201]);
    await server.close();
    expect(await statusOf(await tokenOf(ec))).toBe(201);
    expect(await service.end()).toBe(0);
  });

  it("a silent key server lets nobody in by a token, holds nobody up, and is told to the operator", async (test) => {
    const { expect } = test;
    const { service, statusOf, told } = await givenService(test, runtime, silent);
    expect(await statusOf(await tokenOf(await issuerKey("RS256", "rsa")))).toBe(503);
    expect(await statusOf(KEY)).toBe(201);
    await expect.poll(told).toEqual([expect.stringContaining("JWT_JWKS_URL")]);
    expect(await service.end()).toBe(0);
  });
});
