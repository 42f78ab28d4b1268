import type { Principal } from "../core/identity.ts";

/** What a request carries through Hono. */
export type HttpEnv = {
  Variables: { principal: Principal; requestId: string };
  /** Bun gives its server; on Node there is no such function. */
  Bindings: { timeout?: (request: Request, seconds: number) => void };
};
