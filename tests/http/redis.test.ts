import { afterAll, beforeAll, expect, it } from "vitest";
import { as, type Called, SECRET } from "../support/app.ts";
import { databases } from "../support/databases.ts";
import { freePort } from "../support/global.ts";
import { type HttpApp, startHttp } from "../support/http-app.ts";
import { PATIENT } from "../support/http-expect.ts";
import { describeRedis, type RedisServer, startRedis } from "../support/redis.ts";

const healthOf = (app: HttpApp, path = "/health") => app.call("GET", path);

async function start(env: Record<string, string>): Promise<HttpApp> {
  const common = { DATABASE_URL: await databases[0].fresh(), JWT_SECRET: SECRET, RATE_LIMIT: "10/h" };
  return startHttp({ ...common, ...env });
}

describeRedis("two instances on one Redis", () => {
  let server: RedisServer;
  let apps: [HttpApp, HttpApp];
  const isHealthy = async (app: HttpApp) => (await healthOf(app)).json.checks.redis.status === "healthy";
  const untilHealthy = async () => {
    for (const app of apps) await expect.poll(() => isHealthy(app), PATIENT).toBe(true);
  };
  const ask = async (app: HttpApp, user: string): Promise<Called> =>
    app.call("GET", "/chats", undefined, await as(user));
  const remaining = (called: Called) => Number(/r=(\d+)/.exec(called.headers.get("ratelimit") ?? "")?.[1]);

  beforeAll(async () => {
    server = await startRedis();
    apps = [await start({ REDIS_URL: server.url }), await start({ REDIS_URL: server.url })];
  });
  afterAll(async () => {
    await Promise.all((apps ?? []).map((app) => app.stop()));
    await server?.kill();
  });

  it("are healthy, and say that it is", async () => {
    await untilHealthy();
    for (const path of ["/health", "/api/v1/health"]) {
      expect((await healthOf(apps[0], path)).json).toMatchObject({
        status: "healthy",
        checks: { redis: { status: "healthy", latency_ms: expect.any(Number) }, database: { status: "healthy" } },
      });
    }
  });

  it("share the rate of each user", async () => {
    const [one, other] = apps;
    for (let i = 0; i < 5; i++) {
      expect(remaining(await ask(one, "ann"))).toBe(9 - 2 * i);
      expect(remaining(await ask(other, "ann"))).toBe(8 - 2 * i);
    }
    for (const app of apps) expect((await ask(app, "ann")).status).toBe(429);
    expect(remaining(await ask(other, "bob"))).toBe(9);
  });

  it("go on alone while it is dead, healthy but for that check, and share again when it is back", async () => {
    const [one, other] = apps;
    await server.kill();
    await expect.poll(() => isHealthy(one), PATIENT).toBe(false);
    const { status, json } = await healthOf(one);
    expect(status).toBe(200);
    expect(json).toMatchObject({ status: "healthy", checks: { redis: { status: "unhealthy" } } });
    for (const app of apps) expect(remaining(await ask(app, "cem"))).toBe(9);
    await server.start();
    await untilHealthy();
    expect(remaining(await ask(one, "cem"))).toBe(9);
    expect(remaining(await ask(other, "cem"))).toBe(8);
  });

  it("start, and are healthy, with one that cannot be reached; without any they say nothing of it", async () => {
    const app = await start({ REDIS_URL: `redis://127.0.0.1:${await freePort()}` });
    const { status, json } = await healthOf(app);
    expect([status, json.status, json.checks.redis.status]).toEqual([200, "healthy", "unhealthy"]);
    expect(remaining(await ask(app, "ann"))).toBe(9);
    await app.stop();
    const without = await start({});
    expect((await healthOf(without)).json.checks).not.toHaveProperty("redis");
    await without.stop();
  });

  it("answer no status that the OpenAPI document does not declare", () => {
    for (const app of apps) expect(app.observed().undeclared).toEqual([]);
  });
});
