import { codeOf } from "./postgres-errors.ts";

/** What may be wrong with a database itself, whatever was asked of it. */

/** The code of an error that tells that the database's file is gone from its place. */
export const FILE_MOVED = "PARLEY_FILE_MOVED";

const OF_SQLITE = /^SQLITE_(FULL|IOERR|READONLY|CANTOPEN|BUSY|LOCKED|NOMEM)/;
// Connections (08), resources, disk and connections among them (53), read-only (25006), stopping or starting (57P0), I/O (58).
const OF_POSTGRES =
  /^(08|53|25006|57P0|58)|^(CONNECTION_|CONNECT_TIMEOUT|ECONN|EPIPE|ETIMEDOUT|EHOSTUNREACH|ENOTFOUND|EAI_AGAIN)/;

// A slow statement that the server has ended, a lock that was not to be had, a race that was lost again and again.
const PASSING = /^(57014|55P03|25P03|40001|40P01)$/;

/** Whether the same request may do well in a moment: the database is away, or had too much to do at once. */
export const mayPass = (error: unknown): boolean => isUnavailable(error) || PASSING.test(codeOf(error) ?? "");

/**
 * Whether an error says that the database cannot be reached or written at the moment: its disk is full, it is read-only,
 * somebody holds it, it is away. The same may be well in a moment, which a fault of a statement is not.
 */
export function isUnavailable(error: unknown): boolean {
  const code = codeOf(error) ?? "";
  return code === FILE_MOVED || OF_SQLITE.test(code) || OF_POSTGRES.test(code);
}

/** Whether an error says that a SQLite file, or its log, does not hold together. */
export const isDamaged = (error: unknown): boolean => /^SQLITE_CORRUPT/.test(codeOf(error) ?? "");

/** Names the file, and what to do. */
export const damaged = (path: string, cause: unknown): Error =>
  new Error(
    `${path} is damaged (${cause instanceof Error ? cause.message : cause}): take it and ${path}-wal and ${path}-shm out of the way, and put a backup in its place`,
    { cause },
  );
