import type { AppError, Code } from "../core/errors.ts";
import type { Principal } from "../core/identity.ts";
import type { Trace } from "../core/trace.ts";

/** The token of a request, for what outlasts the request. */
export type HeldToken = {
  /** From then on it is taken no more, in milliseconds since 1970. */
  expiresAt: number;
  /** Whether it would still be taken: its key may be withdrawn. Throws where that cannot be found out now. */
  isValid(): Promise<boolean>;
};

/** How an event stream ended, and how much was written to it. */
export type StreamEnd = {
  ended: "completed" | "client_left" | "reader_stalled" | "token_expired" | "stopping" | "failed";
  writes: number;
  bytes: number;
};

/** What a request carries through Hono. */
export type HttpEnv = {
  Variables: {
    principal: Principal;
    /** undefined for a service with a key, and for anybody where there is no authentication. */
    token?: HeldToken | undefined;
    /** Why it could not be found out who calls. */
    refusal?: AppError | undefined;
    requestId: string;
    /** The path under which clients reach the service, where it is not the root. */
    basePath?: string;
    /** The trace that the request is part of, where it says so. */
    trace?: Trace | undefined;
    /** Takes one of the user's places for open streams, and gives what frees it. Throws 429 where there is none. */
    claimStream: (user: string) => () => void;
    /** What went wrong, for a program. */
    code?: Code;
    /** Where the answer is a stream: how that ended. */
    streamed?: Promise<StreamEnd>;
    /** The body on its way: to be called once it is read, and how long its sender may take, null for no limit here. */
    body?: { read(): void; ms: number | null };
    /** Frees the place that this request has claimed. */
    stream?: (() => void) | undefined;
  };
  Bindings: {
    /** Bun cuts a connection that is silent, also one that waits for its answer; Node does not, and has no such function. */
    holdOpen?: () => () => void;
    /** How long a client may leave its answer untaken, in milliseconds, where that is not the usual time. */
    idleMs?: number;
    /** The address of the connection: Bun's way to tell, and Node's. */
    address?: () => string | undefined;
    incoming?: { socket: { remoteAddress?: string | undefined; destroy?: () => unknown } };
  };
};
