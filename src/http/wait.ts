import type { Context } from "hono";
import type { HttpEnv } from "./env.ts";

/** Keeps a connection from being cut for its silence until the returned function is called. */
export function holdOpen(c: Context<HttpEnv>): () => void {
  return c.env?.holdOpen?.() ?? (() => {});
}

/** Waits for a turn, however long its provider takes. */
export function waitFor<T>(c: Context<HttpEnv>, work: Promise<T>): Promise<T> {
  return work.finally(holdOpen(c));
}
