import type { Principal } from "../core/identity.ts";

/** What a request carries through Hono. */
export type HttpEnv = {
  Variables: { principal: Principal; requestId: string };
  /** Bun cuts a connection that is silent, also one that waits for its answer; Node does not, and has no such function. */
  Bindings: { holdOpen?: (request: Request) => () => void };
};
