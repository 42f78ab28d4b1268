import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { as, SECRET } from "../support/app.ts";
import { expectProblem } from "../support/http-expect.ts";
import { bearer } from "../support/http-keys.ts";
import { declares, useApp } from "../support/http-setup.ts";
import { samplesIn } from "../support/metric-samples.ts";

const KEYS = { user: "key-of-a-user-service", agent: "key-of-an-agent-service", admin: "key-of-an-admin-service" };
const digest = (key: string) => createHash("sha256").update(key).digest("hex");
const API_KEYS = Object.entries(KEYS).map(([role, key]) => `${role}s:${role}:${digest(key)}`);
const closed = { JWT_SECRET: SECRET, API_KEYS: API_KEYS.join(",") };

describe("the metrics of a closed service", () => {
  const parts = useApp(closed);
  const read = (headers = {}, path = "/metrics") => parts.app.call("GET", path, undefined, headers);

  it.each(["/metrics", "/metrics/"])("are for nobody unknown: %s", async (path) => {
    expectProblem(await read({}, path), 401, "unauthorized");
    expectProblem(await read(bearer("none"), path), 401, "unauthorized");
  });

  it.each(["user", "agent"] as const)("are not for a %s, by token or by key", async (role) => {
    expectProblem(await read(await as("ann", role)), 403, "forbidden");
    expectProblem(await read(bearer(KEYS[role])), 403, "forbidden");
  });

  it("are for an admin, by token or by key, in Prometheus' text format", async () => {
    for (const headers of [await as("root", "admin"), bearer(KEYS.admin)]) {
      const metrics = await read(headers);
      expect(metrics.status).toBe(200);
      expect(metrics.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
      expect(metrics.headers.get("cache-control")).toBe("no-store");
      expect(samplesIn(metrics.text).length).toBeGreaterThan(10);
    }
  });

  declares(parts);
});

describe("the metrics of a closed service with METRICS_OPEN", () => {
  const parts = useApp({ ...closed, METRICS_OPEN: "true" });

  it.each(["/metrics", "/metrics/"])("are for everybody: %s", async (path) => {
    for (const headers of [{}, bearer("none"), await as("ann")]) {
      const metrics = await parts.app.call("GET", path, undefined, headers);
      expect([metrics.status, metrics.text]).toEqual([200, expect.stringContaining("parley_turns_open")]);
    }
  });

  it.each(["/models", "/chats", "/metrics/more", "/metricsx", "//metrics"])("open nothing else: %s", async (path) => {
    expectProblem(await parts.app.call("GET", path), 401, "unauthorized");
  });
});

describe("the metrics of an open service", () => {
  const parts = useApp();

  it("are for everybody who reaches it", async () => {
    expect((await parts.app.call("GET", "/metrics")).status).toBe(200);
    expectProblem(await parts.app.call("GET", "/metrics", undefined, { host: "example.com" }), 403, "forbidden");
  });
});
