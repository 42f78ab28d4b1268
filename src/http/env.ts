import type { Principal } from "../core/identity.ts";
import type { Trace } from "../core/trace.ts";

/** What a request carries through Hono. */
export type HttpEnv = {
  Variables: {
    principal: Principal;
    requestId: string;
    /** The path under which clients reach the service, where it is not the root. */
    basePath?: string;
    /** The trace that the request is part of, where it says so. */
    trace?: Trace | undefined;
    /** Takes one of the user's places for open streams, and gives what frees it. Throws 429 where there is none. */
    claimStream: (user: string) => () => void;
    /** Frees the place that this request has claimed. */
    stream?: (() => void) | undefined;
  };
  Bindings: {
    /** Bun cuts a connection that is silent, also one that waits for its answer; Node does not, and has no such function. */
    holdOpen?: () => () => void;
    /** The address of the connection: Bun's way to tell, and Node's. */
    address?: () => string | undefined;
    incoming?: { socket: { remoteAddress?: string | undefined } };
  };
};
