import { existsSync, realpathSync, statSync } from "node:fs";
import Database from "better-sqlite3";
import { codeOf } from "./postgres-errors.ts";
import { FILE_MOVED } from "./trouble.ts";

/** How long a process that is about to end may still hold the file, in milliseconds: a restart follows close behind. */
const PATIENCE_MS = 2_000;

/**
 * Holds a database file for this process alone, until the function that it gives is called. The lock is SQLite's own, on
 * an empty file beside the database: the system takes it away when the process ends, however that ends. Throws where
 * another process holds it.
 */
export function holdFile(path: string): () => void {
  const lock = new Database(lockOf(path), { timeout: PATIENCE_MS });
  try {
    lock.exec("begin exclusive");
  } catch (error) {
    lock.close();
    if (!isBusy(error)) throw error;
    throw new Error(
      `another process serves ${path} already; stop it first, or name another file (several processes need Postgres)`,
    );
  }
  return () => void lock.close();
}

/** Whether another process holds the file; a look leaves nothing behind. */
export function isHeld(path: string): boolean {
  if (!existsSync(lockOf(path))) return false;
  const lock = new Database(lockOf(path), { readonly: true, timeout: 0 });
  try {
    lock.prepare("select 1 from sqlite_schema").get();
    return false;
  } catch (error) {
    return isBusy(error);
  } finally {
    lock.close();
  }
}

const lockOf = (path: string): string => `${realpathSync(path)}.lock`;
const isBusy = (error: unknown): boolean => codeOf(error)?.startsWith("SQLITE_BUSY") === true;

/** How long a look at the files counts, in milliseconds. */
const LOOK_MS = 50;

export type FileWatch = {
  /** Whether the database is no longer what stands under its name; looked at now, or a moment ago. */
  isMoved(): boolean;
  /** The same, looked at now. */
  isMovedNow(): boolean;
};

/**
 * Watches whether an open database is still what stands under its name. Where it was deleted or replaced, whatever is
 * written to it would be lost, so nothing is while that is so. Its log counts too: `cp` puts a copy into the same file.
 * `told` hears of it.
 */
export function watchFile(client: Database.Database, told: (isMoved: boolean) => void): FileWatch {
  if (client.memory) return { isMoved: () => false, isMovedNow: () => false };
  const files = [client.name, `${realpathSync(client.name)}-wal`];
  const opened = files.map(identityOf);
  let [moved, lookedAt] = [false, Number.NEGATIVE_INFINITY];
  function isMovedNow(): boolean {
    const before = moved;
    moved = files.some((file, i) => identityOf(file) !== opened[i]);
    lookedAt = performance.now();
    if (moved === before) return moved;
    client.pragma(`query_only = ${Number(moved)}`);
    told(moved);
    return moved;
  }
  return { isMovedNow, isMoved: () => (performance.now() - lookedAt > LOOK_MS ? isMovedNow() : moved) };
}

export const fileMoved = (): Error =>
  Object.assign(new Error("the database file was deleted or replaced while the service had it open"), {
    code: FILE_MOVED,
  });

function identityOf(file: string): string | null {
  try {
    const { dev, ino } = statSync(file, { bigint: true });
    return `${dev} ${ino}`;
  } catch {
    return null; // not there, or not to be seen: in either case not what was opened
  }
}
