import { describe, expect, it } from "vitest";
import pkg from "../../package.json" with { type: "json" };
import { databases } from "../support/databases.ts";
import { type Document, startHttp } from "../support/http-app.ts";
import { expectProblem } from "../support/http-expect.ts";
import { declares, useApp } from "../support/http-setup.ts";

describe.each(databases)("the service routes on $database", ({ fresh }) => {
  const parts = useApp({}, fresh);
  const get = (path: string, headers = {}) => parts.app.call("GET", path, undefined, headers);

  it("say what this is", async () => {
    const root = await get("/");
    expect(root.status).toBe(200);
    expect(root.json).toMatchObject({
      message: expect.stringMatching(/\S/),
      name: expect.stringMatching(/\S/),
      version: pkg.version,
      status: "operational",
      docs: expect.stringMatching(/^\//),
    });
    expect((await get(root.json.docs)).status).toBe(200);
  });

  it.each(["/health", "/api/v1/health"])("say at %s that all is well", async (path) => {
    const health = await get(path);
    expect(health.status).toBe(200);
    expect(health.json).toMatchObject({
      status: "healthy",
      version: pkg.version,
      uptime_s: expect.any(Number),
      checks: { database: { status: "healthy", latency_ms: expect.any(Number) } },
    });
    expect(health.json.checks.database.latency_ms).toBeGreaterThanOrEqual(0);
  });

  it("say that it lives and takes requests", async () => {
    expect((await get("/health/live")).status).toBe(200);
    expect((await get("/health/ready")).status).toBe(200);
  });

  it("are hindered by no malformed X-User-Id: nobody's name is asked for", async () => {
    for (const path of ["/health", "/health/live", "/openapi.json"]) {
      expect([path, (await get(path, { "x-user-id": "x".repeat(256) })).status]).toEqual([path, 200]);
    }
  });

  declares(parts);
});

describe("readiness", () => {
  it("is 503 while the service starts, and while it drains", async () => {
    const app = await startHttp({ DATABASE_URL: await databases[0].fresh() }, { ready: false });
    const ready = () => app.call("GET", "/health/ready");
    expect((await ready()).status).toBe(503);
    expect((await app.call("GET", "/health/live")).status).toBe(200);
    app.parley.ready();
    expect((await ready()).status).toBe(200);
    let close = () => {};
    const stopped = app.parley.stop(
      new Promise((resolve) => {
        close = resolve;
      }),
    );
    expect((await ready()).status).toBe(503);
    expect((await app.call("GET", "/health/live")).status).toBe(200);
    close();
    await stopped;
    expect(app.observed().undeclared).toEqual([]);
  });
});

describe("the OpenAPI document", () => {
  const parts = useApp();
  const read = async (): Promise<Document> => (await parts.app.call("GET", "/openapi.json")).json;
  const operations = async () =>
    Object.entries((await read()).paths).flatMap(([path, verbs]) =>
      Object.entries(verbs).map(([verb, operation]) => ({ path, verb, ...operation })),
    );

  it("is OpenAPI 3.1", async () => {
    const got = await parts.app.call("GET", "/openapi.json");
    expect(got.status).toBe(200);
    expect(got.headers.get("content-type")).toMatch(/^application\/json/);
    expect(got.json).toMatchObject({
      openapi: expect.stringMatching(/^3\.1\./),
      info: { title: expect.any(String), version: pkg.version },
      components: { schemas: expect.any(Object) },
    });
  });

  it("has every route there is, and no other", async () => {
    const served = parts.app.parley.app.routes
      .filter(({ method }) => method !== "ALL")
      .map(({ method, path }) => `${method} ${path.replaceAll(/:(\w+)/g, "{$1}")}`);
    const written = (await operations()).map(({ verb, path }) => `${verb.toUpperCase()} ${path}`);
    expect(written.sort()).toEqual([...new Set(served)].sort());
  });

  it("gives every operation an id of its own, a summary and answers", async () => {
    const all = await operations();
    expect(all.length).toBeGreaterThan(10);
    expect(new Set(all.map(({ operationId }) => operationId)).size).toBe(all.length);
    for (const { operationId, responses, ...rest } of all) {
      expect(operationId).toMatch(/^[a-z]\w+$/i);
      expect(rest).toMatchObject({ summary: expect.stringMatching(/\S/) });
      expect(Object.keys(responses).filter((status) => status.startsWith("2"))).not.toEqual([]);
    }
  });

  it("leads every reference somewhere, and declares errors as problems", async () => {
    const document = await read();
    const text = JSON.stringify(document);
    for (const [, kind = "", name = ""] of text.matchAll(/"#\/components\/(\w+)\/(\w+)"/g)) {
      expect(document).toHaveProperty(["components", kind, name]);
    }
    expect(document).toMatchObject({
      components: { responses: { Problem: { content: { "application/problem+json": expect.any(Object) } } } },
    });
    for (const { path, verb, responses } of await operations()) {
      for (const [status, response] of Object.entries(responses)) {
        if (Number(status) < 400 || path.includes("health")) continue;
        expect([verb, path, status, response]).toMatchObject([
          verb,
          path,
          status,
          { $ref: "#/components/responses/Problem", description: expect.stringMatching(/`\w+`/) },
        ]);
      }
    }
  });

  it("gives path parameters and bodies their types", async () => {
    const chat = (await read()).paths["/chat"]?.["post"];
    expect(chat).toMatchObject({ requestBody: { required: true, content: { "application/json": {} } } });
    const create = (await read()).paths["/chats"]?.["post"];
    expect(create).not.toMatchObject({ requestBody: { required: true } });
    const get = (await read()).paths["/chats/{chat_id}"]?.["get"];
    expect(get).toMatchObject({
      parameters: expect.arrayContaining([
        expect.objectContaining({
          name: "chat_id",
          in: "path",
          required: true,
          schema: expect.objectContaining({ format: "uuid" }),
        }),
      ]),
    });
  });

  it("shows nobody anything of a request that is refused", async () => {
    expectProblem(await parts.app.call("POST", "/openapi.json", {}), 405, "method_not_allowed");
  });
});
