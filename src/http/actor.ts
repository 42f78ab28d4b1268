import type { Context } from "hono";
import { type Actor, actAs } from "../core/identity.ts";
import type { HttpEnv } from "./env.ts";

/** Who acts, for whom: `named` is the body's `user_id`; without it the query's counts. Throws 403 for a foreign one. */
export const actorOf = (c: Context<HttpEnv>, named?: string): Actor =>
  actAs(c.get("principal"), named ?? c.req.query("user_id"));
