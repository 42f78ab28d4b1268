import postgres from "postgres";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { freshPostgres } from "../support/databases.ts";
import { type HttpApp, startHttp } from "../support/http-app.ts";
import { expectProblem } from "../support/http-expect.ts";
import { startWire, type Wire } from "../support/http-proxy.ts";

describe("a database that goes away", () => {
  let proxy: Wire;
  let app: HttpApp;
  beforeAll(async () => {
    proxy = await startWire(await freshPostgres());
    app = await startHttp({ DATABASE_URL: proxy.url, DRAIN_TIMEOUT_S: "1" });
  });
  afterAll(async () => {
    await proxy?.mend();
    await app?.stop();
    await proxy?.close();
  });
  const get = (path: string) => app.call("GET", path);

  async function isUnhealthy(): Promise<void> {
    const seen = await Promise.all([get("/health"), get("/api/v1/health"), get("/health/live"), get("/")]);
    expect(seen.map(({ status }) => status)).toEqual([503, 503, 200, 200]);
    for (const health of seen.slice(0, 2)) {
      expect(health.json).toMatchObject({
        status: "unhealthy",
        version: expect.any(String),
        uptime_s: expect.any(Number),
        checks: { database: { status: "unhealthy", latency_ms: expect.any(Number) } },
      });
      expect(health.text).not.toMatch(/ECONN|postgres|127\.0\.0\.1/);
    }
  }

  const isHealthyAgain = () => expect.poll(async () => (await get("/health")).status, { interval: 100 }).toBe(200);

  it("makes the service unhealthy, but not dead, and well again when it is back", async () => {
    await isHealthyAgain();
    await proxy.cut();
    await isUnhealthy();
    await proxy.mend();
    await isHealthyAgain();
    expect((await get("/chats")).status).toBe(200);
  });

  it("does so, too, when it is only silent", async () => {
    await isHealthyAgain();
    proxy.freeze();
    await isUnhealthy();
    await proxy.mend();
    await isHealthyAgain();
  });
});

describe("a Postgres that turns read-only, as after a failover", () => {
  it("makes health and readiness red and writes a 503, and all is well again without a restart", async () => {
    const url = await freshPostgres();
    const app = await startHttp({ DATABASE_URL: url, DRAIN_TIMEOUT_S: "1" });
    const admin = postgres(url, { max: 1, onnotice: () => {} });
    const name = new URL(url).pathname.slice(1);
    /** For connections from now on; those that are open stay as they are. */
    const set = (to: "on" | "off") => admin.unsafe(`alter database ${name} set default_transaction_read_only = ${to}`);
    const states = async () =>
      Promise.all(["/health", "/health/ready"].map(async (path) => (await app.call("GET", path)).status));
    const write = () => app.call("POST", "/chats", { title: "Kept" });

    await set("on");
    await admin`select pg_terminate_backend(pid) from pg_stat_activity where datname = ${name} and pid <> pg_backend_pid()`;
    await expect.poll(states, { timeout: 15_000 }).toEqual([503, 503]);
    const refused = await write();
    expectProblem(refused, 503, "storage_unavailable");
    expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(0);
    expect((await app.call("GET", "/chats")).status).toBe(200);

    await set("off");
    await expect.poll(states, { timeout: 15_000 }).toEqual([200, 200]);
    expect((await write()).status).toBeLessThan(300);
    await admin.end();
    await app.stop();
  });
});

describe("a database that fails", () => {
  it("is a 500 that shows nothing of it, and no conversation is in the way of another request", async () => {
    const url = await freshPostgres();
    const app = await startHttp({ DATABASE_URL: url, DRAIN_TIMEOUT_S: "1" });
    const { id } = (await app.call("POST", "/chats", { title: "Kept" })).json;
    const admin = postgres(url, { max: 1, onnotice: () => {} });
    await admin.unsafe("alter table messages rename to elsewhere");
    const seen = [
      await app.call("GET", `/chats/${id}/messages`),
      await app.call("GET", `/api/chat/conversations/${id}`),
      await app.call("POST", "/chat", { chat_id: id, message: "words of a user" }),
    ];
    for (const failed of seen) {
      expectProblem(failed, 500, "internal_error");
      expect(failed.text).not.toMatch(/messages|elsewhere|relation|words of a user/);
    }
    expect((await app.call("GET", `/chats/${id}`)).json).toMatchObject({ title: "Kept", message_count: 0 });
    await admin.unsafe("alter table elsewhere rename to messages");
    expect((await app.call("POST", "/chat", { chat_id: id, message: "words of a user" })).status).toBe(200);
    expect(app.observed().undeclared).toEqual([]);
    await admin.end();
    await app.stop();
  });
});
