import type { Context } from "hono";
import type { HttpEnv } from "./env.ts";

/**
 * Breaks off an answer whose head has gone out, so that half of it does not look like a whole one. On Node the connection
 * is closed by hand: its server would write the error's message to the client, and the error into the log as it is.
 */
export function hangUp(c: Context<HttpEnv>, controller: ReadableStreamDefaultController): void {
  const socket = c.env?.incoming?.socket;
  if (socket?.destroy) socket.destroy();
  else controller.error(new Error("the answer broke off"));
}
