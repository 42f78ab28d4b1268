import type { Principal } from "../core/identity.ts";

/** What a request carries through Hono. */
export type HttpEnv = {
  Variables: {
    principal: Principal;
    requestId: string;
    /** Takes one of the user's places for open streams, and gives what frees it; absent where there is no limit. */
    claimStream?: (user: string) => () => void;
    /** Frees the place that this request has claimed. */
    stream?: (() => void) | undefined;
  };
  Bindings: {
    /** Bun's, for one request; on Node there is no such function. */
    timeout?: (request: Request, seconds: number) => void;
    /** The address of the connection: Bun's way to tell, and Node's. */
    address?: (request: Request) => string | undefined;
    incoming?: { socket: { remoteAddress?: string | undefined } };
  };
};
