import { gunzipSync } from "node:zlib";
import { createRoute, z } from "@hono/zod-openapi";
import type { Context } from "hono";
import { notFound } from "../core/errors.ts";
import { FILES, redocPage, swaggerPage } from "../docs/pages.ts";
import type { HttpEnv } from "../http/env.ts";
import { createRouter } from "../http/router.ts";
import { problemResponses, publicProblems } from "../http/schemas.ts";

const tags = ["Documentation"];
const notThere = problemResponses(["not_found"]);
const html = (description: string) => ({
  200: { description, content: { "text/html": { schema: z.string() } } },
  ...publicProblems,
});

const openapi = createRoute({
  method: "get",
  path: "/openapi.json",
  operationId: "getOpenApi",
  tags,
  summary: "This document",
  security: [],
  responses: {
    200: {
      description: "OpenAPI 3.1",
      content: { "application/json": { schema: z.looseObject({ openapi: z.string() }) } },
    },
    ...publicProblems,
  },
});

const swaggerUi = createRoute({
  method: "get",
  path: "/docs",
  operationId: "getDocs",
  tags,
  summary: "Swagger UI: read about the routes and try them",
  security: [],
  responses: html("The page"),
});

const redoc = createRoute({
  method: "get",
  path: "/redoc",
  operationId: "getRedoc",
  tags,
  summary: "ReDoc: read about the routes",
  security: [],
  responses: html("The page"),
});

const asset = createRoute({
  method: "get",
  path: "/docs/{file}",
  operationId: "getDocsFile",
  tags,
  summary: "A script or style of these pages",
  security: [],
  request: { params: z.object({ file: z.string().openapi({ example: "swagger-ui.css" }) }) },
  responses: {
    200: {
      description: "The file",
      content: { "text/javascript": { schema: z.string() }, "text/css": { schema: z.string() } },
    },
    304: { description: "It has not changed" },
    ...publicProblems,
    ...notThere,
  },
});

const SWAGGER_POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
// ReDoc writes its styles into the page, and searches in a worker that it makes itself.
const REDOC_POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; worker-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/** The pages that explain the service. `document` gives the OpenAPI document, which is whole only after all routes are. */
export function docs(document: () => object) {
  const router = createRouter();
  let text: string | undefined;

  router.openAPIRegistry.registerPath(openapi);
  router.get("/openapi.json", (c) => {
    text ??= `${JSON.stringify(document())}\n`;
    return c.body(text, 200, { "Content-Type": "application/json" });
  });
  router.openapi(swaggerUi, (c) =>
    c.html(swaggerPage(rootFrom(c)), 200, { "Content-Security-Policy": SWAGGER_POLICY }),
  );
  router.openapi(redoc, (c) => c.html(redocPage(rootFrom(c)), 200, { "Content-Security-Policy": REDOC_POLICY }));
  router.openapi(asset, async (c) => {
    const { file } = c.req.valid("param");
    const own = Object.hasOwn(FILES, file) ? FILES[file] : undefined;
    if (own) return c.body(own.text, 200, { "Content-Type": own.type, "Cache-Control": "no-cache" });
    return sendAsset(c, file);
  });
  return router;
}

/** The way from a page to the root of the service: a slash at the end of its path is one step more. */
const rootFrom = (c: Context<HttpEnv>): string => (new URL(c.req.url).pathname.endsWith("/") ? "../" : "./");

/** The embedded bytes as they are, for whoever takes gzip; else unpacked. */
async function sendAsset(c: Context<HttpEnv>, file: string): Promise<Response> {
  const { assets } = await import("../docs/assets.ts"); // a megabyte that few ask for
  const found = Object.hasOwn(assets, file) ? assets[file] : undefined;
  if (!found) throw notFound("file");
  const etag = `"${found.etag}"`;
  const shared = { ETag: etag, "Cache-Control": "no-cache", Vary: "Accept-Encoding" };
  if (c.req.header("if-none-match") === etag) return c.body(null, 304, shared);
  const zipped = Buffer.from(found.gzip, "base64");
  const headers = { ...shared, "Content-Type": found.type };
  if (/\bgzip\b/.test(c.req.header("accept-encoding") ?? "")) {
    return c.body(new Uint8Array(zipped), 200, { ...headers, "Content-Encoding": "gzip" });
  }
  return c.body(new Uint8Array(gunzipSync(zipped)), 200, headers);
}
