import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { as, read, SECRET } from "../support/app.ts";
import { useApp } from "../support/http-setup.ts";

/** What a token is not asked for, and what it answers. */
const OPEN = [
  "/",
  "/health",
  "/health/live",
  "/health/ready",
  "/api/v1/health",
  "/docs",
  "/docs/",
  "/redoc",
  "/redoc/",
  "/openapi.json",
];

describe("a path that no server has put in order before", () => {
  const parts = useApp({ JWT_SECRET: SECRET });
  let mallory: Record<string, string>;
  let id: string;
  let known: string[];
  beforeAll(async () => {
    mallory = await as("mallory");
    id = (await parts.app.call("POST", "/chats", { title: "secret" }, await as("alice"))).json.id;
    known = await Promise.all(OPEN.map(async (path) => shapeOf(await parts.app.call("GET", path))));
  });
  /** A body without what changes from one call to the next. */
  const shapeOf = ({ text }: { text: string }) => text.replace(/"(latency_ms|uptime_s)":[\d.e-]+/g, "");

  /** As the app would get it from a server that hands targets on as they came: `Request` itself would clean them. */
  async function ask(target: string, headers: Record<string, string> = {}) {
    const request = new Request("http://localhost/", { headers });
    Object.defineProperty(request, "url", { value: `http://localhost${target}` });
    return read(await parts.app.parley.app.fetch(request));
  }

  const piece = fc.constantFrom(
    ...["chats", "chat", "health", "live", "docs", "redoc", "openapi.json", "api", "v1", "turns", "usage", "models"],
    ...["..", ".", "", "%2e%2e", "%2f", "%5c", "\\", "%00", "%0a", "%0d%0a", "%ff", "%", ";a=b", "%3b", "%c0%af"],
    ...["%2563", "HEALTH", "health%20", "routes", "conversations", "send", "\n", "?", "#", "%3f", "%23", "ID"],
  );
  const slash = fc.constantFrom("/", "\\", "%2f", "%5c", "//", ";/");
  /** From what is closed to what is open, for whoever puts a path in order that another has not. */
  const detour = fc
    .tuple(
      fc.constantFrom("/chats", "/chats/ID", "/models", "/api/v1/usage", "/conversations/ID", "/routes"),
      fc.array(fc.tuple(slash, fc.constantFrom("..", "%2e%2e", ".%2e", ".")), { maxLength: 4 }),
      fc.tuple(slash, fc.constantFrom("health", "docs", "redoc", "", "openapi.json", "api/v1/health")),
    )
    .map(([from, up, to]) => from + [...up, to].flat().join(""));
  const walk = fc
    .array(fc.tuple(fc.constantFrom("/", "//", "", "%2f", "\\", "/./", "/../"), piece), { minLength: 1, maxLength: 7 })
    .map((parts) => `/${parts.flat().join("")}`.replace(/^\/\//, "/"));
  const target = fc.oneof(walk, detour);

  it("is routed as it was looked at: without a token it opens what is open to all, and nothing else", async () => {
    let opened = 0;
    await fc.assert(
      fc.asyncProperty(target, async (path) => {
        const answered = await ask(path.replace("ID", id));
        expect([200, 401, 404, 405]).toContain(answered.status);
        if (answered.status !== 200) return;
        opened++;
        expect(known).toContain(shapeOf(answered));
      }),
      { numRuns: 3_000 },
    );
    expect(opened).toBeGreaterThan(10); // else it would have tried nothing
  });

  it("shows nobody what is somebody else's, and fails nowhere", async () => {
    await fc.assert(
      fc.asyncProperty(target, async (path) => {
        const answered = await ask(path.replace("ID", id), mallory);
        expect([200, 404, 405, 422]).toContain(answered.status);
        expect(answered.text).not.toContain("secret");
      }),
      { numRuns: 3_000 },
    );
  });
});
