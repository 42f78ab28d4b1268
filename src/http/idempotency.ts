import { createHash } from "node:crypto";
import { z } from "@hono/zod-openapi";
import type { Context } from "hono";
import { invalid } from "../core/errors.ts";
import type { Actor } from "../core/identity.ts";
import type { RequestKey } from "../core/keys.ts";
import type { HttpEnv } from "./env.ts";

const HEADER = "Idempotency-Key";

/** What a route that makes something says of the header. */
export const keyHeader = z.object({
  "idempotency-key": z.string().optional().openapi({
    pattern: "^[!-~]{1,255}$",
    description: "1 to 255 visible ASCII characters: the same key and body give the first result again, for 24 hours.",
  }),
});

/** The request's key, with a digest of what the request asks for. Throws 422 for a malformed one. */
export function requestKey(c: Context<HttpEnv>, actor: Actor, body: object): RequestKey | null {
  const key = c.req.header(HEADER);
  if (key === undefined) return null;
  if (!/^[\x21-\x7e]{1,255}$/.test(key)) throw invalid(HEADER, "must be 1 to 255 visible ASCII characters");
  const path = c.req.path.replace(/\/$/, "");
  const asked = [c.req.method, path, actor.userId, { ...body, stream: undefined }];
  return { key, requestHash: createHash("sha256").update(JSON.stringify(asked, inOrder)).digest("base64url") };
}

// Two bodies are the same whatever the order of their fields.
function inOrder(_: string, value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}
