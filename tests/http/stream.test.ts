import { createHash } from "node:crypto";
import { jwtVerify } from "jose";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { as, type Called, SECRET, startApp, type TestApp } from "../support/app.ts";
import { expectProblem } from "../support/http-expect.ts";
import { declares, useApp } from "../support/http-setup.ts";
import { type FakeStream, startStream } from "../support/stream.ts";

const PATH = "/api/v1/stream/token";
const KEY = "a-key-of-the-shop";
const keyOf = (role: string) => `shop:${role}:${createHash("sha256").update(KEY).digest("hex")}`;
const app = {
  STREAM_API_KEY: "key-of-the-app",
  STREAM_SECRET: "secret of the app",
  STREAM_BASE_URL: "http://127.0.0.1:9",
};
const forUser = (user_id: string) => ({ user_id });

/** Whose token it is, as Stream would read it. */
async function ownerOf({ status, json }: Called): Promise<unknown> {
  expect(status, JSON.stringify(json)).toBe(200);
  const { payload } = await jwtVerify(json.token, new TextEncoder().encode(app.STREAM_SECRET));
  expect(payload).toEqual({ user_id: json.user_id, iat: expect.any(Number), exp: Date.parse(json.expires_at) / 1000 });
  return payload["user_id"];
}

describe("a token for Stream Chat", () => {
  const parts = useApp({ ...app, JWT_SECRET: SECRET, API_KEYS: keyOf("admin"), STREAM_ASSISTANT_ID: "the-bot" });
  const ask = (headers: Record<string, string>, body?: unknown) => parts.app.call("POST", PATH, body, headers);
  const service = { authorization: `Bearer ${KEY}` };

  it("is the caller's own, lasts an hour, and comes with the app's key, while Stream is away", async () => {
    const before = Date.now();
    const called = await ask(await as("alice"));
    expect(await ownerOf(called)).toBe("alice");
    expect(called.json).toMatchObject({ api_key: "key-of-the-app", user_id: "alice" });
    expect(Date.parse(called.json.expires_at)).toBeGreaterThan(before + 3_590_000);
    expect(Date.parse(called.json.expires_at)).toBeLessThan(before + 3_660_000);
    expect(called.headers.get("cache-control")).toBe("no-store");
    expect(called.text).not.toContain(app.STREAM_SECRET);
    expect(await ownerOf(await ask(await as("alice"), forUser("alice")))).toBe("alice");
  });

  it("is the same at /token, where the coaching API's clients ask for it", async () => {
    const called = await parts.app.call("POST", "/token", forUser("alice"), await as("alice"));
    expect(await ownerOf(called)).toBe("alice");
    expect(called.headers.get("cache-control")).toBe("no-store");
    expectProblem(await parts.app.call("POST", "/token", forUser("bob"), await as("alice")), 403, "forbidden");
    expectProblem(await parts.app.call("POST", "/token", forUser("alice")), 401, "unauthorized");
  });

  it.each(["user", "agent", "admin"] as const)("is nobody else's, whatever is seen of others: %s", async (role) => {
    const headers = await as(`${role}-of-the-house`, role);
    expect(await ownerOf(await ask(headers))).toBe(`${role}-of-the-house`);
    expectProblem(await ask(headers, forUser("bob")), 403, "forbidden");
    expectProblem(await parts.app.call("POST", `${PATH}?user_id=bob`, undefined, headers), 403, "forbidden");
  });

  it("is for whom a service names, and no one without a token", async () => {
    expect(await ownerOf(await ask(service, forUser("bob")))).toBe("bob");
    expect(await ownerOf(await ask({ ...service, "x-user-id": "carol" }))).toBe("carol");
    expect(await ownerOf(await ask(service))).toBe("shop");
    expectProblem(await ask({}), 401, "unauthorized");
  });

  it("is never the assistant's", async () => {
    expectProblem(await ask(await as("the-bot")), 403, "forbidden");
    expectProblem(await ask(service, forUser("the-bot")), 403, "forbidden");
  });

  it("names a user as Stream can where it takes not all of its characters", async () => {
    const called = await ask(await as("zoë@example.com"));
    expect(await ownerOf(called)).toMatch(/^utf8_[\w-]+$/);
    const other = await ask(await as(called.json.user_id));
    expect(await ownerOf(other)).not.toBe(called.json.user_id);
  });

  it.each([[forUser("")], [forUser("x".repeat(256))], [{ user_id: 1 }]])("is not for %j", async (body) => {
    expectProblem(await ask(service, body), 422, "validation_failed");
  });

  declares(parts);
});

describe("without an app of Stream Chat", () => {
  const parts = useApp();

  it("there is no such route, in the document or beside it", async () => {
    for (const path of [PATH, "/token"]) expectProblem(await parts.app.call("POST", path), 404, "not_found");
    for (const path of ["/openapi.json", "/routes"]) {
      expect((await parts.app.call("GET", path)).text).not.toMatch(/stream.?chat|stream\/token/i);
    }
  });
});

describe("a client with such a token", () => {
  let fake: FakeStream;
  let parley: TestApp;
  beforeAll(async () => {
    fake = await startStream();
    parley = await startApp({ DATABASE_URL: ":memory:", ...fake.env });
  });
  afterAll(async () => {
    await parley?.stop();
    await fake?.close();
  });

  it("is that user at Stream, at once", async () => {
    fake.as("dora");
    const { json } = await parley.call("POST", PATH, forUser("dora"));
    const url = `${fake.url}/channels/messaging/of-dora/query?api_key=${json.api_key}`;
    const headers = { authorization: json.token, "stream-auth-type": "jwt", "content-type": "application/json" };
    const made = await fetch(url, { method: "POST", headers, body: JSON.stringify({ data: { members: ["dora"] } }) });
    expect(made.status).toBe(201);
    expect(fake.channel("of-dora")).toMatchObject({ created_by: { id: "dora" }, members: ["dora"] });
  });
});
