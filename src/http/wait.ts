import type { Context } from "hono";
import type { HttpEnv } from "./env.ts";

/** Waits for a turn. Bun would cut a connection that is silent for ten seconds, also while its answer is being made. */
export function waitFor<T>(c: Context<HttpEnv>, work: Promise<T>): Promise<T> {
  c.env?.timeout?.(c.req.raw, 0);
  return work;
}
