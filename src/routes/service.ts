import { createRoute, z } from "@hono/zod-openapi";
import { adminOnly } from "../http/auth.ts";
import { createRouter } from "../http/router.ts";
import { json, problems, publicProblems } from "../http/schemas.ts";
import type { Services } from "../services.ts";

const tags = ["Service"];
const PING_MS = 2_000;
const METRICS = { "Content-Type": "text/plain; version=0.0.4; charset=utf-8", "Cache-Control": "no-store" };

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
const check = z.object({ status: state, latency_ms: z.number() });
const Health = z
  .object({
    status: state,
    version: z.string(),
    uptime_s: z.number(),
    checks: z.object({
      database: check,
      redis: check.optional().openapi({ description: "Where there is one; without it the service goes on." }),
    }),
  })
  .openapi("ServiceHealth");

const Ready = z
  .object({ status: z.enum(["live", "ready", "starting", "draining", "unhealthy"]) })
  .openapi("ServiceReadiness");

const Target = z.object({
  target: z.string(),
  usable: z.boolean(),
  breaker: z.enum(["closed", "open", "half_open"]).openapi({
    description: "`open`: it failed lately and is left alone for a while; `half_open`: it is being tried again.",
  }),
});

const Models = z
  .object({
    default: z.string().openapi({ description: "What answers where a request names no model." }),
    aliases: z.array(
      z.object({
        alias: z.string(),
        usable: z.boolean(),
        targets: z.array(Target).openapi({ description: "In order of trial." }),
      }),
    ),
    providers: z.array(z.string()).openapi({ description: "Any model of these may be named as `provider/model`." }),
  })
  .openapi("ServiceModels");

const Route = z.object({ method: z.string(), path: z.string(), summary: z.string() }).openapi("ServiceRoute");

const root = createRoute({
  method: "get",
  path: "/",
  operationId: "getRoot",
  tags,
  summary: "What this is",
  security: [],
  responses: { 200: json(Root, "Name, version and where the documentation is"), ...publicProblems },
});

const healthResponses = {
  200: json(Health, "Healthy"),
  503: json(Health, "The database is gone, or cannot be written"),
  ...publicProblems,
};
const getHealth = createRoute({
  method: "get",
  path: "/health",
  operationId: "getHealth",
  tags,
  summary: "Health, with the state of what it depends on",
  description: "A database is healthy that can be read and written.",
  security: [],
  responses: healthResponses,
});
const apiHealth = createRoute({ ...getHealth, path: "/api/v1/health", operationId: "getApiHealth" });

const live = createRoute({
  method: "get",
  path: "/health/live",
  operationId: "getLiveness",
  tags,
  summary: "Whether the process answers, whatever the database does",
  security: [],
  responses: { 200: json(Ready, "It does"), ...publicProblems },
});

const ready = createRoute({
  method: "get",
  path: "/health/ready",
  operationId: "getReadiness",
  tags,
  summary: "Whether it takes requests",
  description: "Not while it starts or stops, nor while its database cannot be written.",
  security: [],
  responses: { 200: json(Ready, "It does"), 503: json(Ready, "Not yet, or no more"), ...publicProblems },
});

const models = createRoute({
  method: "get",
  path: "/models",
  operationId: "listModels",
  tags,
  summary: "The aliases, their targets, and which are usable with the keys at hand",
  responses: { 200: json(Models, "The models"), ...problems() },
});

const routes = createRoute({
  method: "get",
  path: "/routes",
  operationId: "listRoutes",
  tags,
  summary: "Every route there is",
  responses: { 200: json(z.array(Route), "The routes"), ...problems() },
});

const metrics = createRoute({
  method: "get",
  path: "/metrics",
  operationId: "getMetrics",
  tags,
  summary: "What this instance has counted, for Prometheus",
  description: "For an admin; for everybody where the service is open, or METRICS_OPEN is set.",
  responses: {
    200: { description: "Prometheus' text format", content: { "text/plain": { schema: z.string() } } },
    ...problems("forbidden"),
  },
});

type Document = ReturnType<ReturnType<typeof createRouter>["getOpenAPI31Document"]>;

/** WIRE section 6: what the service says of itself. `document` is the OpenAPI document of all routes. */
export function service(services: Services, document: () => Document) {
  const { db, redis, version, phase, log } = services;
  const router = createRouter();
  const started = performance.now();

  // However many ask at once, the database is asked once: health has no rate limit.
  const isThere = shared(() =>
    db.ping(PING_MS).then(
      () => true,
      (error) => {
        log.warn({ err: error }, "the database cannot be used");
        return false;
      },
    ),
  );

  async function examine(): Promise<z.infer<typeof Health>> {
    const [database, cache] = await Promise.all([
      timed(isThere),
      redis && timed(async () => (await redis.ask((client) => client.ping())) !== undefined),
    ]);
    const uptime_s = Math.round((performance.now() - started) / 1000);
    return { status: database.status, version, uptime_s, checks: { database, ...(cache && { redis: cache }) } };
  }

  const health = shared(examine);

  router.openapi(root, (c) =>
    c.json(
      {
        message: "Parley remembers conversations and answers them.",
        name: "parley",
        version,
        status: "operational",
        docs: `${c.get("basePath") ?? ""}/docs`,
      } as const,
      200,
    ),
  );
  for (const route of [getHealth, apiHealth]) {
    router.openapi(route, async (c) => {
      const found = await health();
      return found.status === "healthy" ? c.json(found, 200) : c.json(found, 503);
    });
  }
  router.openapi(live, (c) => c.json({ status: "live" } as const, 200));
  router.openapi(ready, async (c) => {
    const isHealthy = phase() === "ready" && (await isThere());
    const status = phase(); // it may have begun to stop meanwhile
    if (status !== "ready") return c.json({ status }, 503);
    return isHealthy ? c.json({ status }, 200) : c.json({ status: "unhealthy" } as const, 503);
  });
  router.openapi(models, (c) => c.json(services.models(), 200));
  router.openapi(routes, (c) => c.json(routesOf(document()), 200));
  router.openapi(metrics, async (c) => {
    adminOnly(c.get("principal"));
    return c.text(await services.metrics.read(), 200, METRICS);
  });
  return router;
}

/** The same work, for all who ask while it is done. */
function shared<R>(work: () => Promise<R>): () => Promise<R> {
  let running: Promise<R> | undefined;
  return () => {
    running ??= work().finally(() => {
      running = undefined;
    });
    return running;
  };
}

async function timed(isHealthy: () => Promise<boolean>): Promise<z.infer<typeof check>> {
  const before = performance.now();
  const status = (await isHealthy()) ? "healthy" : "unhealthy";
  return { status, latency_ms: Math.round((performance.now() - before) * 100) / 100 };
}

const METHODS = ["get", "post", "put", "patch", "delete"] as const;

function routesOf({ paths = {} }: Document): z.infer<typeof Route>[] {
  return Object.entries(paths).flatMap(([path, item]) =>
    METHODS.flatMap((method) => {
      const operation = item[method];
      return operation ? [{ method: method.toUpperCase(), path, summary: operation.summary ?? "" }] : [];
    }),
  );
}
