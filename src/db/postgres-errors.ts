import { setTimeout as sleep } from "node:timers/promises";

export const UNIQUE_VIOLATION = "23505";
export const MISSING_DATABASE = "3D000";

/** The SQLSTATE of an error, also of one that Drizzle has wrapped. */
export function codeOf(error: unknown): string | undefined {
  if (typeof error !== "object" || error === null) return undefined;
  if ("code" in error && typeof error.code === "string") return error.code;
  return "cause" in error ? codeOf(error.cause) : undefined;
}

/** Whether the connection of a failed statement is lost: closed, reset, or ended by the server (57P01 to 57P05). */
export const isGone = (error: unknown): boolean => /^(CONNECTION_|ECONN|EPIPE|57P0)/.test(codeOf(error) ?? "");

const CLOSE_GAP_MS = 20;

/**
 * Throws the error again; a lost connection's a moment late. Between its error and its close the driver still takes
 * queries for it, and never answers them: whoever tries again must not fall into that gap.
 */
export async function afterItsClose(error: unknown): Promise<never> {
  if (isGone(error)) await sleep(CLOSE_GAP_MS);
  throw error;
}
