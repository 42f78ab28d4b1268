import { createHash } from "node:crypto";
import { beforeAll, describe, expect, it } from "vitest";
import { as, type Called, SECRET } from "../support/app.ts";
import { databases } from "../support/databases.ts";
import { type HttpApp, startHttp } from "../support/http-app.ts";
import { expectProblem, NOBODY } from "../support/http-expect.ts";
import { declares, useApp } from "../support/http-setup.ts";

type Headers = Record<string, string>;

let users = 0;
const newUser = () => as(`rated-${++users}`);
let addresses = 0;
const newAddress = (): Headers => ({ "x-forwarded-for": `192.0.2.${++addresses}` });

/** What a response says of the limit of requests. */
function saidBy({ headers }: Called): { quota: number; window: number; remaining: number; full: number } {
  const [, quota, window] = /^"requests";q=(\d+);w=(\d+)$/.exec(headers.get("ratelimit-policy") ?? "") ?? [];
  const [, remaining, full] = /^"requests";r=(\d+);t=(\d+)$/.exec(headers.get("ratelimit") ?? "") ?? [];
  return { quota: Number(quota), window: Number(window), remaining: Number(remaining), full: Number(full) };
}

describe("a rate of 4 requests an hour", () => {
  const parts = useApp({ JWT_SECRET: SECRET, RATE_LIMIT: "4/h", TRUST_PROXY: "1" });
  const get = (path: string, headers: Headers) => parts.app.call("GET", path, undefined, headers);
  let ann: Headers;
  beforeAll(async () => {
    ann = await newUser();
  });

  it("is told by every response, with what is left of it", async () => {
    for (const remaining of [3, 2, 1, 0]) {
      expect(saidBy(await get("/chats", ann))).toEqual({
        quota: 4,
        window: 3600,
        remaining,
        full: expect.closeTo((4 - remaining) * 900, -1),
      });
    }
  });

  it("refuses what is more with a 429 that says when to come again", async () => {
    for (const [method, path] of [
      ["GET", "/chats"],
      ["POST", "/api/chat/send"],
      ["GET", "/nowhere"],
      ["PUT", "/chats"],
    ] as const) {
      const refused = await parts.app.call(method, path, method === "POST" ? { message: "x" } : undefined, ann);
      expectProblem(refused, 429, "rate_limited");
      const wait = Number(refused.headers.get("retry-after"));
      expect(wait).toBeGreaterThanOrEqual(1);
      expect(wait).toBeLessThanOrEqual(900);
      expect(wait).toBeGreaterThan(450);
      expect(saidBy(refused).remaining).toBe(0);
    }
    expect(parts.provider.asked).toEqual([]);
  });

  it("is each user's own", async () => {
    expect(saidBy(await get("/chats", await newUser())).remaining).toBe(3);
  });

  it("follows the user through all of their tokens and addresses", async () => {
    const [user, admin] = [await as("everywhere"), await as("everywhere", "admin")];
    await get("/chats", { ...user, ...newAddress() });
    expect(saidBy(await get("/chats", { ...admin, ...newAddress() })).remaining).toBe(2);
  });

  it("is told also by a response that refuses something else", async () => {
    const asked: (readonly [number, (who: Headers) => Promise<Called>])[] = [
      [404, (who) => get("/nowhere", who)],
      [404, (who) => get(`/chats/${NOBODY}`, who)],
      [405, (who) => parts.app.call("DELETE", "/chats", undefined, who)],
      [422, (who) => get("/chats?limit=none", who)],
      [422, (who) => parts.app.call("POST", "/chat", { message: 7 }, who)],
      [400, (who) => parts.app.call("POST", "/chats", "{", who)],
      [403, (who) => get("/chats?user_id=somebody", who)],
      [
        415,
        (who) =>
          parts.app.request("/chat", { method: "POST", body: "x", headers: { ...who, "content-type": "text/plain" } }),
      ],
      [
        413,
        (who) =>
          parts.app.request("/chat", {
            method: "POST",
            body: "x".repeat(1_048_577),
            headers: { ...who, "content-type": "application/json" },
          }),
      ],
    ];
    for (const [status, ask] of asked) {
      const called = await ask(await newUser());
      expect([called.status, saidBy(called)]).toEqual([status, { quota: 4, window: 3600, remaining: 3, full: 900 }]);
    }
  });

  it("is told by a stream, and by every page that is not the API's", async () => {
    const body = { message: "Hello", stream: true };
    const streamed = await parts.app.call("POST", "/api/chat/send", body, await newUser());
    expect(streamed.headers.get("content-type")).toMatch(/^text\/event-stream/);
    expect(saidBy(streamed).remaining).toBe(3);
    for (const path of ["/", "/docs", "/redoc", "/openapi.json"]) {
      expect([path, saidBy(await get(path, newAddress()))]).toMatchObject([path, { remaining: 3 }]);
    }
  });

  it("is that of the address where nobody shows who they are, and of nobody else's", async () => {
    const [here, there] = [newAddress(), newAddress()];
    const user = await newUser();
    for (const remaining of [3, 2, 1, 0]) expect(saidBy(await get("/", here)).remaining).toBe(remaining);
    expectProblem(await get("/", here), 429, "rate_limited");
    expectProblem(
      await get("/docs", { ...here, "x-forwarded-for": `6.6.6.6, ${here["x-forwarded-for"]}` }),
      429,
      "rate_limited",
    );
    expect(saidBy(await get("/", there)).remaining).toBe(3);
    expect(saidBy(await get("/chats", { ...user, ...here })).remaining).toBe(3);
  });

  it("is that of a whole /64 where the address is one of IPv6", async () => {
    const at = (address: string) => get("/", { "x-forwarded-for": address });
    expect(saidBy(await at("2001:db8:5:6::1")).remaining).toBe(3);
    expect(saidBy(await at("2001:db8:5:6:ffff::2")).remaining).toBe(2);
    expect(saidBy(await at("2001:db8:5:7::1")).remaining).toBe(3);
  });

  it("is not for health: an orchestrator asks as often as it likes, and is told nothing of it", async () => {
    const address = newAddress();
    for (const path of ["/health", "/health/", "/health/live", "/health/ready", "/api/v1/health", "/api/v1/health/"]) {
      for (let i = 0; i < 6; i++) {
        const called = await get(path, address);
        expect([path, called.status, called.headers.get("ratelimit")]).toEqual([path, 200, null]);
      }
    }
    expect(saidBy(await get("/", address)).remaining).toBe(3);
  });

  it("holds requests without a valid token to the rate of their address, and says it on every 401", async () => {
    const address = newAddress();
    for (const [i, authorization] of [undefined, "Bearer x", "Bearer a.b.c", "Basic eDp5"].entries()) {
      const refused = await get("/chats", { ...address, ...(authorization && { authorization }) });
      expectProblem(refused, 401, "unauthorized");
      expect(saidBy(refused).remaining).toBe(3 - i);
    }
    expectProblem(await get("/chats", { ...address, authorization: "Bearer guess" }), 429, "rate_limited");
    expectProblem(await get("/", address), 429, "rate_limited");
    expectProblem(await get("/chats", newAddress()), 401, "unauthorized");
    expect((await get("/chats", { ...address, ...(await newUser()) })).status).toBe(200);
  });

  declares(parts);
});

describe("requests", () => {
  const isLimited = async (env: Headers, headers: Headers = {}): Promise<string | null> => {
    const app: HttpApp = await startHttp({ DATABASE_URL: await databases[0].fresh(), ...env });
    const { headers: said } = await app.call("GET", "/", undefined, headers);
    await app.stop();
    return said.get("ratelimit-policy");
  };

  it("are limited to 600 a minute by default where the service is closed, and not at all where it is open", async () => {
    expect(await isLimited({ JWT_SECRET: SECRET })).toBe('"requests";q=600;w=60');
    expect(await isLimited({})).toBeNull();
  });

  it("are not limited with `off`, and are where an open service is told to", async () => {
    expect(await isLimited({ JWT_SECRET: SECRET, RATE_LIMIT: "off" })).toBeNull();
    expect(await isLimited({ RATE_LIMIT: "30/m" })).toBe('"requests";q=30;w=60');
  });
});

describe("an open service with a rate", () => {
  const parts = useApp({ RATE_LIMIT: "2/h", TRUST_PROXY: "1", ALLOWED_ORIGINS: "https://app.example.com" });

  it("counts by the name that a request gives itself, else by the address", async () => {
    const asks = async (headers: Headers) =>
      saidBy(await parts.app.call("GET", "/chats", undefined, headers)).remaining;
    expect(await asks({ "x-user-id": "ann" })).toBe(1);
    expect(await asks({ "x-user-id": "ann" })).toBe(0);
    expect(await asks({ "x-user-id": "bob" })).toBe(1);
    expect(await asks(newAddress())).toBe(1);
  });

  it("shows a web page of another origin what is left, and asks nothing for a preflight", async () => {
    const origin = { origin: "https://app.example.com", "x-user-id": "page" };
    const preflight = { ...origin, "access-control-request-method": "GET" };
    for (let i = 0; i < 4; i++) {
      expect((await parts.app.call("OPTIONS", "/chats", undefined, preflight)).status).toBe(204);
    }
    const called = await parts.app.call("GET", "/chats", undefined, origin);
    expect(called.status).toBe(200);
    expect(called.headers.get("access-control-expose-headers")).toMatch(/RateLimit,.*RateLimit-Policy,.*Retry-After/);
  });
});

describe("a rate, for services that act for their users", () => {
  const KEY = "a-key-of-a-service-of-the-tests";
  const API_KEYS = `crm:agent:${createHash("sha256").update(KEY).digest("hex")}`;
  const parts = useApp({ API_KEYS, RATE_LIMIT: "2/h" });
  const list = (named: Headers, query = "") =>
    parts.app.call("GET", `/chats${query}`, undefined, { authorization: `Bearer ${KEY}`, ...named });

  it.each([
    ["header", (user: string) => list({ "x-user-id": user })],
    ["query", (user: string) => list({}, `?user_id=${user}`)],
  ])("is that of the user whom they name in the %s", async (where, ask) => {
    const statuses = [];
    for (const user of ["a", "a", "a", "b"]) statuses.push((await ask(`${where}-${user}`)).status);
    expect(statuses).toEqual([200, 200, 429, 200]);
  });

  it("does not hold back what names nobody there", async () => {
    for (let i = 0; i < 4; i++) expect((await list({})).status).toBe(200);
  });

  declares(parts);
});
