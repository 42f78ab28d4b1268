import { closeSync, existsSync, openSync, readSync, realpathSync, renameSync, rmSync, statSync } from "node:fs";
import type Database from "better-sqlite3";
import { type Hold, identityOf } from "./sqlite-hold.ts";
import { FILE_MOVED } from "./trouble.ts";

/** How long a look counts for who only reads, and one at what lies beside the file for who writes, in milliseconds. */
const LOOK_MS = 50;

/** `moved`: deleted or replaced. `overwritten`: another program has written into it. `unlocked`: another process serves it. */
export type FileState = "ours" | "moved" | "overwritten" | "unlocked";

export type FileWatch = {
  /** What became of the file; looked at now, or a moment ago. */
  recently(): FileState;
  /** The same, the file looked at now, its log and lock a moment ago. */
  forCommit(): FileState;
  /** The same, all looked at now. */
  now(): FileState;
  /** Takes the log of this database out of the way of what stands in its place now. */
  putLogAside(): void;
  /** To be called once the connection is closed, never before: it would end the connection's own locks. */
  end(): void;
};

/**
 * Watches whether an open database is still what stands under its name, and is written by SQLite alone. Whatever is written
 * to it otherwise would be lost, or would spoil what was put there, so nothing is while that is so. `told` hears of it.
 */
export function watchFile(
  client: Database.Database,
  hold: Hold | undefined,
  told: (state: FileState) => void,
): FileWatch {
  if (client.memory) return { recently: ours, forCommit: ours, now: ours, putLogAside() {}, end() {} };
  const path = realpathSync(client.name);
  const log = `${path}-wal`;
  client.prepare("select 1 from sqlite_schema").get(); // from the first read on it has its log
  const openedLog = identityOf(log);
  const file = watchWrites(client.name, `${path}-shm`);
  let state: FileState = "ours";
  let [lookedAt, besideAt] = [Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY];

  function lookBeside(): FileState {
    besideAt = lookedAt;
    if (identityOf(log) !== openedLog) return "moved";
    return hold === undefined || hold.isHeld() ? "ours" : "unlocked";
  }

  function look(besideMs: number): FileState {
    if (state === "overwritten") return state; // what this connection knows of it is wrong for good
    lookedAt = performance.now();
    const found = file.look();
    const isBesideDue = state !== "ours" || lookedAt - besideAt > besideMs;
    return found === "ours" && isBesideDue ? lookBeside() : found;
  }

  function lookAndTell(besideMs: number): FileState {
    const before = state;
    state = look(besideMs);
    if (state === before) return state;
    client.pragma(`query_only = ${Number(state !== "ours")}`);
    told(state);
    return state;
  }

  return {
    recently: () => (performance.now() - lookedAt > LOOK_MS ? lookAndTell(LOOK_MS) : state),
    forCommit: () => lookAndTell(LOOK_MS),
    now: () => lookAndTell(-1),
    putLogAside() {
      if (identityOf(log) !== openedLog) return;
      renameSync(log, freeName(`${log}.put-aside`));
      rmSync(`${path}-shm`, { force: true }); // an index of the log, no more
    },
    end: file.end,
  };
}

const ours = () => "ours" as const;

/** Pages that the connection has read do not fit those that another has written: what it would find is nobody's. */
export function refuseOverwritten(file: FileWatch): void {
  if (file.recently() === "overwritten") throw fileMoved();
}

/** The client as Drizzle needs it, for statements that are not prepared once. */
export function guarded(client: Database.Database, file: FileWatch): Database.Database {
  const prepare = (text: string) => {
    refuseOverwritten(file);
    return client.prepare(text);
  };
  return { prepare } as Database.Database;
}

function freeName(name: string): string {
  for (let n = 1; ; n++) {
    const free = n === 1 ? name : `${name}-${n}`;
    if (!existsSync(free)) return free;
  }
}

/** Of the shared index of SQLite's log: its salts, the pages that were written into the file, and that are about to be. */
const [SALTS_AT, WRITTEN_AT, STARTED_AT, INDEX_BYTES] = [32, 96, 128, 132] as const;

/**
 * Tells a file that was replaced, and writes into it that SQLite did not do: where there is a log it writes the file by
 * checkpoints alone, of whatever process, and notes each in the log's index before its first write and after its last.
 */
function watchWrites(path: string, indexPath: string): { look(): "ours" | "moved" | "overwritten"; end(): void } {
  const index = openSync(indexPath, "r"); // kept open: a close would end the locks of the connection
  const bytes = Buffer.alloc(INDEX_BYTES);
  const opened = seenAt(path);
  let [known, written] = [checkpoint(), opened?.written];

  function checkpoint(): { id: string; isUnderWay: boolean } {
    readSync(index, bytes, 0, INDEX_BYTES, 0);
    const [done, started] = [bytes.readUInt32LE(WRITTEN_AT), bytes.readUInt32LE(STARTED_AT)];
    return { id: `${bytes.readBigUInt64LE(SALTS_AT)} ${done} ${started}`, isUnderWay: done !== started };
  }

  const isLater = (one: typeof known) => one.isUnderWay || known.isUnderWay || one.id !== known.id;

  function look() {
    const before = checkpoint();
    const seen = seenAt(path);
    if (!seen || seen.id !== opened?.id) return "moved";
    // One may have begun between the two looks.
    if (seen.written !== written && !isLater(before) && !isLater(checkpoint())) return "overwritten";
    [known, written] = [before, seen.written];
    return "ours";
  }

  return { look, end: () => closeSync(index) };
}

export const fileMoved = (): Error =>
  Object.assign(new Error("the database file was deleted, replaced or written over while the service had it open"), {
    code: FILE_MOVED,
  });

function seenAt(file: string): { id: string; written: string } | null {
  try {
    const { dev, ino, size, mtimeNs } = statSync(file, { bigint: true });
    return { id: `${dev} ${ino}`, written: `${size} ${mtimeNs}` };
  } catch {
    return null; // not there, or not to be seen: in either case not what was opened
  }
}
