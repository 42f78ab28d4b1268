import type { Context } from "hono";
import { type Actor, actAs, twoNames } from "../core/identity.ts";
import type { HttpEnv } from "./env.ts";

/** Who acts, for whom: `named` is the body's `user_id`; the path's and the query's count as well. Throws 403 for a foreign one, and for two. */
export function actorOf(c: Context<HttpEnv>, named?: string): Actor {
  const inPath = c.req.param("user_id");
  const names = new Set([named, inPath, ...(c.req.queries("user_id") ?? [])].filter((name) => name !== undefined));
  if (names.size > 1) throw twoNames();
  return actAs(c.get("principal"), [...names][0]);
}
