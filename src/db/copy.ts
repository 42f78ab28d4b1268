import { randomUUID } from "node:crypto";
import { closeSync, existsSync, fsyncSync, linkSync, openSync, renameSync, rmSync, statSync } from "node:fs";
import { dirname } from "node:path";
import type Database from "better-sqlite3";
import { migrations } from "../../drizzle/migrations.ts";
import { appliedOn, pending } from "./migrate.ts";

/**
 * Writes all that is committed as a database of its own, whoever else writes meanwhile. It stands under its name once it
 * is whole and on the disk, and not before. Throws where that name is taken, or it cannot be written.
 */
export function copySqlite(client: Database.Database, file: string): void {
  if (existsSync(file)) throw isThere(file);
  const part = `${file}.${randomUUID().slice(0, 8)}.part`;
  // An empty file is one that VACUUM INTO fills; made here, nobody may read it who may not read the original.
  makeFile(part, (statSync(client.name).mode & 0o777) | 0o200); // the original may be a copy put away
  try {
    client.prepare("vacuum into ?").run(part); // which leaves it to us to see it onto the disk
    sync(part, "r+");
    giveName(part, file);
  } finally {
    rmSync(part, { force: true });
  }
  if (process.platform !== "win32") sync(dirname(file), "r"); // there a folder cannot be opened
}

/** Why a file cannot be made, of the folder that it would stand in. */
const WHY: Readonly<Record<string, string>> = {
  ENOENT: "does not exist",
  ENOTDIR: "is no folder",
  EACCES: "may not be written to by this user",
  EPERM: "may not be written to by this user",
  EROFS: "is on a file system that cannot be written",
};

function makeFile(file: string, mode: number): void {
  try {
    closeSync(openSync(file, "wx", mode));
  } catch (error) {
    const why = WHY[(error as NodeJS.ErrnoException).code ?? ""];
    throw why === undefined ? error : new Error(`the folder ${dirname(file)} ${why}`, { cause: error });
  }
}

const isThere = (file: string): Error => new Error(`${file} is there already, and is left as it is`);

/** What a file system says that has no second names for a file. */
const NO_LINKS = /^(EPERM|ENOTSUP|EOPNOTSUPP|ENOSYS)$/;

/** Unlike a rename it takes no name that somebody else has given meanwhile. */
function giveName(part: string, file: string): void {
  try {
    linkSync(part, file);
  } catch (error) {
    const { code = "" } = error as NodeJS.ErrnoException;
    if (code === "EEXIST") throw isThere(file);
    if (!NO_LINKS.test(code)) throw error;
    claimName(file);
    renameSync(part, file);
  }
}

function claimName(file: string): void {
  try {
    closeSync(openSync(file, "wx"));
  } catch (error) {
    throw (error as NodeJS.ErrnoException).code === "EEXIST" ? isThere(file) : error;
  }
}

/**
 * Keeps an existing database as it is before migrations that are pending: beside it, under a name that says which is the
 * first of them. Gives that name; null where there is nothing to keep. Throws where it cannot be written.
 */
export function keepBeforeMigrating(client: Database.Database): string | null {
  const [next] = pending(migrations.sqlite, appliedOn(client));
  if (client.memory || !next || client.prepare("select 1 from sqlite_schema").get() === undefined) return null;
  const since = changedAt(client.name);
  for (let n = 1; ; n++) {
    const file = `${client.name}.before-${next.tag}${n === 1 ? "" : `-${n}`}`;
    if (existsSync(file)) {
      // Of an earlier try of the same: a start that fails again and again is to fill no disk.
      if (statSync(file).mtimeMs >= since) return file;
      continue;
    }
    try {
      copySqlite(client, file);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new Error(`migrations are pending, and no copy could be written before them: ${reason}`, { cause: error });
    }
    return file;
  }
}

function changedAt(path: string): number {
  const log = statSync(`${path}-wal`, { throwIfNoEntry: false });
  return Math.max(statSync(path).mtimeMs, log && log.size > 0 ? log.mtimeMs : 0);
}

function sync(path: string, flags: "r" | "r+"): void {
  const handle = openSync(path, flags);
  fsyncSync(handle);
  closeSync(handle);
}
