import { afterAll, beforeAll, expect, it } from "vitest";
import { as, SECRET } from "../support/app.ts";
import { eventually } from "../support/core-models.ts";
import { freshPostgres } from "../support/databases.ts";
import { type HttpApp, startHttp } from "../support/http-app.ts";
import { describeRedis, type RedisServer, startRedis } from "../support/redis.ts";

describeRedis("a session on two instances with a Redis", () => {
  let server: RedisServer;
  let apps: [HttpApp, HttpApp];
  let owner: Record<string, string>;
  let id: string;
  const hits = async () => Number(/keyspace_hits:(\d+)/.exec(await server.ask("INFO stats"))?.[1]);
  const read = async (app: HttpApp, headers = owner) => app.call("GET", `/api/v1/sessions/${id}`, undefined, headers);
  const say = (app: HttpApp, message: string) =>
    app.call("POST", "/api/chat/send", { message, conversation_id: id }, owner);
  const texts = async (app: HttpApp, headers = owner) =>
    (await read(app, headers)).json.messages.map(({ content }: { content: string }) => content);

  beforeAll(async () => {
    server = await startRedis();
    const env = { DATABASE_URL: await freshPostgres(), JWT_SECRET: SECRET, REDIS_URL: server.url, RATE_LIMIT: "off" };
    apps = [await startHttp(env), await startHttp(env)];
    for (const app of apps) {
      await eventually(async () => expect((await app.call("GET", "/health")).json.checks.redis.status).toBe("healthy"));
    }
    owner = await as("ann");
    id = (await apps[0].call("POST", "/api/v1/sessions", {}, owner)).json.id;
    await say(apps[0], "first");
    await eventually(async () => {
      await read(apps[0]); // a Redis that is slow to answer is gone on without
      expect(await server.ask(`EXISTS parley:posts:${id}`)).toContain(":1");
    });
  });
  afterAll(async () => {
    await Promise.all((apps ?? []).map((app) => app.stop()));
    await server?.kill();
  });

  it("is the same on both, read once from the database", async () => {
    const before = await hits();
    expect((await read(apps[1])).json).toEqual((await read(apps[0])).json);
    expect(await hits()).toBe(before + 2);
  });

  it("is nobody else's, however well it is kept: 404", async () => {
    for (const app of apps) expect((await read(app, await as("bob"))).status).toBe(404);
    for (const role of ["agent", "admin"] as const)
      expect(await texts(apps[1], await as("root", role))).toHaveLength(2);
  });

  it("shows each change at once, on the other one as well", async () => {
    const path = async () => `/api/v1/messages/${(await read(apps[0])).json.messages[0].id}`;
    expect((await apps[0].call("PATCH", await path(), { content: "edited" }, owner)).status).toBe(200);
    for (const app of apps) expect((await texts(app))[0]).toBe("edited");
    expect((await apps[1].call("DELETE", await path(), undefined, owner)).status).toBeLessThan(300);
    for (const app of apps) expect(await texts(app)).toHaveLength(1);
    await say(apps[1], "second");
    for (const app of apps) expect(await texts(app)).toHaveLength(3);
  });

  it("goes with its conversation", async () => {
    expect((await apps[1].call("DELETE", `/chats/${id}`, undefined, owner)).status).toBe(204);
    for (const app of apps) expect((await read(app)).status).toBe(404);
  });
});
