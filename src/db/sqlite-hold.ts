import { existsSync, realpathSync, statSync } from "node:fs";
import Database from "better-sqlite3";
import { codeOf } from "./postgres-errors.ts";

/** How long a process that is about to end may still hold the file, in milliseconds: a restart follows close behind. */
const PATIENCE_MS = 2_000;

export type Hold = {
  /** Whether the lock is still this process's. One whose file was deleted is taken anew, unless another was faster. */
  isHeld(): boolean;
  letGo(): void;
};

/**
 * Holds a database file for this process alone. The lock is SQLite's own, on an empty file beside the database: the system
 * takes it away when the process ends, however that ends. Throws where another process holds it.
 */
export function holdFile(path: string): Hold {
  const file = lockOf(path);
  let lock = tryLock(file, PATIENCE_MS);
  if (!lock) throw inUse(path);
  let held = identityOf(file);
  return {
    isHeld() {
      const now = identityOf(file);
      if (now !== null && now === held) return true;
      const taken = tryLock(file, 0);
      if (!taken) return false;
      lock?.close();
      [lock, held] = [taken, identityOf(file)];
      return true;
    },
    letGo: () => void lock?.close(),
  };
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

const inUse = (path: string): Error =>
  new Error(
    `another process serves ${path} already; stop it first, or name another file (several processes need Postgres)`,
  );

function tryLock(file: string, timeout: number): Database.Database | null {
  const lock = new Database(file, { timeout });
  try {
    lock.exec("begin exclusive");
    return lock;
  } catch (error) {
    lock.close();
    if (!isBusy(error)) throw error;
    return null;
  }
}

const isBusy = (error: unknown): boolean => codeOf(error)?.startsWith("SQLITE_BUSY") === true;

/**
 * Throws where another process may serve the file although the lock beside it is free: under a second name of the file, or
 * because somebody has deleted the lock.
 */
export function refuseShared(path: string): void {
  if (path === ":memory:" || !existsSync(path)) return;
  if (statSync(path).nlink > 1) {
    throw new Error(
      `${path} has a second name (a hard link), under which another process may write it: delete that name, or serve a copy`,
    );
  }
  if (existsSync(lockOf(path)) || !existsSync(`${realpathSync(path)}-wal`)) return;
  const client = new Database(path, { fileMustExist: true, timeout: PATIENCE_MS });
  try {
    client.pragma("locking_mode = exclusive"); // granted only where nobody else has the file open
    client.prepare("select 1 from sqlite_schema").get();
  } catch (error) {
    if (isBusy(error)) throw new Error(`${path} is open in another process, and its lock was deleted; stop that first`);
    throw error;
  } finally {
    client.close();
  }
}

/** What a file is, whatever its name; null where it is not there, or not to be seen. */
export function identityOf(file: string): string | null {
  try {
    const { dev, ino } = statSync(file, { bigint: true });
    return `${dev} ${ino}`;
  } catch {
    return null;
  }
}
