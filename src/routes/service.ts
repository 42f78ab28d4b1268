import { createRoute, z } from "@hono/zod-openapi";
import { createRouter } from "../http/router.ts";
import { json } from "../http/schemas.ts";
import type { Services } from "../services.ts";

const tags = ["Service"];
const PING_MS = 2_000;

const Root = z
  .object({
    message: z.string(),
    name: z.string(),
    version: z.string(),
    status: z.literal("operational"),
    docs: z.string(),
  })
  .openapi("ServiceRoot");

const state = z.enum(["healthy", "unhealthy"]);
const Health = z
  .object({
    status: state,
    version: z.string(),
    uptime_s: z.number(),
    checks: z.object({ database: z.object({ status: state, latency_ms: z.number() }) }),
  })
  .openapi("ServiceHealth");

const Ready = z.object({ status: z.enum(["live", "ready", "starting", "draining"]) }).openapi("ServiceReadiness");

const root = createRoute({
  method: "get",
  path: "/",
  operationId: "getRoot",
  tags,
  summary: "What this is",
  responses: { 200: json(Root, "Name, version and where the documentation is") },
});

const healthResponses = { 200: json(Health, "Healthy"), 503: json(Health, "The database is gone") };
const health = createRoute({
  method: "get",
  path: "/health",
  operationId: "getHealth",
  tags,
  summary: "Health, with the state of what it depends on",
  responses: healthResponses,
});
const apiHealth = createRoute({ ...health, path: "/api/v1/health", operationId: "getApiHealth" });

const live = createRoute({
  method: "get",
  path: "/health/live",
  operationId: "getLiveness",
  tags,
  summary: "Whether the process answers, whatever the database does",
  responses: { 200: json(Ready, "It does") },
});

const ready = createRoute({
  method: "get",
  path: "/health/ready",
  operationId: "getReadiness",
  tags,
  summary: "Whether it takes requests",
  responses: { 200: json(Ready, "It does"), 503: json(Ready, "Not yet, or no more") },
});

/** WIRE section 6: what the service says of itself. */
export function service({ db, version, phase, log }: Services) {
  const router = createRouter();
  const started = performance.now();

  async function check(): Promise<z.infer<typeof Health>> {
    const before = performance.now();
    const status = await db.ping(PING_MS).then(
      () => "healthy" as const,
      (error) => {
        log.warn({ err: error }, "the database does not answer");
        return "unhealthy" as const;
      },
    );
    const latency_ms = Math.round((performance.now() - before) * 100) / 100;
    const uptime_s = Math.round((performance.now() - started) / 1000);
    return { status, version, uptime_s, checks: { database: { status, latency_ms } } };
  }

  router.openapi(root, (c) =>
    c.json(
      {
        message: "Parley remembers conversations and answers them.",
        name: "parley",
        version,
        status: "operational",
        docs: "/openapi.json",
      } as const,
      200,
    ),
  );
  for (const route of [health, apiHealth]) {
    router.openapi(route, async (c) => {
      const found = await check();
      return found.status === "healthy" ? c.json(found, 200) : c.json(found, 503);
    });
  }
  router.openapi(live, (c) => c.json({ status: "live" } as const, 200));
  router.openapi(ready, (c) => {
    const status = phase();
    return status === "ready" ? c.json({ status }, 200) : c.json({ status }, 503);
  });
  return router;
}
