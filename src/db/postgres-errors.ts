import { setTimeout as sleep } from "node:timers/promises";

export const UNIQUE_VIOLATION = "23505";
export const MISSING_DATABASE = "3D000";
export const NO_PRIVILEGE = "42501";
export const READ_ONLY = "25006";

/** The SQLSTATE of an error, also of one that Drizzle has wrapped. */
export function codeOf(error: unknown): string | undefined {
  if (typeof error !== "object" || error === null) return undefined;
  if ("code" in error && typeof error.code === "string") return error.code;
  return "cause" in error ? codeOf(error.cause) : undefined;
}

/** Whether the connection of a failed statement is lost: closed, reset, or ended by the server (57P01 to 57P05). */
export const isGone = (error: unknown): boolean => /^(CONNECTION_|ECONN|EPIPE|57P0)/.test(codeOf(error) ?? "");

/** Whether a transaction lost against another one and changed nothing: of a deadlock, or of two on one row. */
export const isLostRace = (error: unknown): boolean => /^(40001|40P01)$/.test(codeOf(error) ?? "");

/** Whether there is no connection left for this role or database right now. */
export const isCrowded = (error: unknown): boolean => codeOf(error) === "53300";

/** Whether only a pooler says so: it knows no prepared statement of ours, or refuses the settings that we begin with. */
export const isOfPooler = (error: unknown): boolean =>
  /^(26000|42P05)$/.test(codeOf(error) ?? "") || isRefusedSetting(error);

const isRefusedSetting = (error: unknown): boolean =>
  error instanceof Error && /unsupported startup parameter/i.test(error.message);

/** What a statement is refused with that had no answer in its time; whether it was carried out is not known. */
export const tooLate = (ms: number): Error =>
  Object.assign(new Error(`the database did not answer within ${ms} ms`), { code: "ETIMEDOUT" });

const CLOSE_GAP_MS = 20;

/**
 * Throws the error again; a lost connection's a moment late. Between its error and its close the driver still takes
 * queries for it, and never answers them: whoever tries again must not fall into that gap.
 */
export async function afterItsClose(error: unknown): Promise<never> {
  if (isGone(error)) await sleep(CLOSE_GAP_MS);
  throw error;
}
