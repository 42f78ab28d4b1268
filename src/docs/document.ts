import type { OpenAPIHono } from "@hono/zod-openapi";
import { sayNulls } from "../http/absent.ts";
import type { HttpEnv } from "../http/env.ts";
import { problemSchema } from "../http/schemas.ts";
import { EXAMPLES } from "./examples.ts";
import { INTRODUCTION } from "./introduction.ts";

type Tag = { name: string; description: string };

const SURFACES: readonly Tag[] = [
  { name: "Chats", description: "An AI chat backend: many chats a user." },
  { name: "Conversations", description: "A conversation API whose answers can come several at a time." },
  { name: "Send", description: "A chat microservice: one route to send, two to look back." },
  { name: "Coaching", description: "A coaching API: a message in, a response out." },
  { name: "Sessions", description: "Live chat: people and the assistant in one thread, handed over and back." },
];
const STREAM: Tag = { name: "Stream Chat", description: "Conversations shown in an app of Stream Chat." };
const REST: readonly Tag[] = [
  { name: "Turns", description: "A question and its answer in the making: follow it, stop it, ask again." },
  { name: "Administration", description: "Users and conversations of all, and all that there is of one user." },
  { name: "Service", description: "How the service is, and what it can do." },
  { name: "Documentation", description: "These pages." },
];

const PROBLEM = {
  type: "about:blank",
  title: "Not Found",
  status: 404,
  detail: "There is no such conversation.",
  code: "not_found",
  request_id: "01990b5e-7c1a-7d2e-9f3a-4b5c6d7e8f90",
};

export type DocumentOptions = {
  version: string;
  /** The path under which the service is reached; empty for none. */
  basePath: string;
  hasStream: boolean;
};

/** The OpenAPI document of all routes that `app` has by now. */
export function openApiDocument(app: OpenAPIHono<HttpEnv>, { version, basePath, hasStream }: DocumentOptions) {
  const registry = app.openAPIRegistry;
  registry.registerComponent("securitySchemes", "Bearer", {
    type: "http",
    scheme: "bearer",
    description: "A JWT, or the key of a service.",
  });
  registry.register("Problem", problemSchema);
  registry.registerComponent("responses", "Problem", {
    description: "What every error looks like.",
    content: { "application/problem+json": { schema: { $ref: "#/components/schemas/Problem" }, example: PROBLEM } },
  });
  const document = app.getOpenAPI31Document({
    openapi: "3.1.0",
    info: {
      title: "Parley",
      version,
      description: INTRODUCTION,
      license: { name: "MIT", url: "https://opensource.org/license/mit" },
    },
    servers: [{ url: basePath || "/" }],
    security: [{ Bearer: [] }],
    tags: [...SURFACES, ...(hasStream ? [STREAM] : []), ...REST],
  });
  for (const { operationId = "", requestBody } of operationsOf(document)) {
    const body = requestBody && "content" in requestBody ? requestBody.content["application/json"] : undefined;
    const example = EXAMPLES[operationId];
    if (body && example) body.example = example;
  }
  return sayNulls(document);
}

type Document = ReturnType<OpenAPIHono["getOpenAPI31Document"]>;

const operationsOf = ({ paths = {} }: Document) =>
  Object.values(paths).flatMap(({ get, post, put, patch, delete: remove }) =>
    [get, post, put, patch, remove].filter((operation) => operation !== undefined),
  );
