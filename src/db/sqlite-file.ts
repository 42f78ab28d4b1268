import { closeSync, existsSync, openSync, readSync, realpathSync, renameSync, rmSync, statSync } from "node:fs";
import type Database from "better-sqlite3";
import { type Hold, identityOf } from "./sqlite-hold.ts";
import { FILE_MOVED } from "./trouble.ts";

/** How long a look at the files counts for who only reads, in milliseconds. */
const LOOK_MS = 50;

/** `moved`: deleted or replaced. `overwritten`: another program has written into it. `unlocked`: another process serves it. */
export type FileState = "ours" | "moved" | "overwritten" | "unlocked";

export type FileWatch = {
  /** What became of the file; looked at now, or a moment ago. */
  recently(): FileState;
  /** The same, looked at now. */
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
  if (client.memory) return { recently: () => "ours", now: () => "ours", putLogAside() {}, end() {} };
  const path = realpathSync(client.name);
  const log = `${path}-wal`;
  client.prepare("select 1 from sqlite_schema").get(); // from the first read on it has its log
  const [openedFile, openedLog] = [identityOf(client.name), identityOf(log)];
  const writes = watchWrites(path);
  let [state, lookedAt]: [FileState, number] = ["ours", Number.NEGATIVE_INFINITY];

  function look(): FileState {
    if (state === "overwritten") return state; // what this connection knows of it is wrong for good
    if (identityOf(client.name) !== openedFile) return "moved";
    if (writes.areForeign()) return "overwritten";
    if (identityOf(log) !== openedLog) return "moved";
    return hold === undefined || hold.isHeld() ? "ours" : "unlocked";
  }

  function now(): FileState {
    const before = state;
    state = look();
    lookedAt = performance.now();
    if (state === before) return state;
    client.pragma(`query_only = ${Number(state !== "ours")}`);
    told(state);
    return state;
  }

  return {
    now,
    recently: () => (performance.now() - lookedAt > LOOK_MS ? now() : state),
    putLogAside() {
      if (identityOf(log) !== openedLog) return;
      renameSync(log, freeName(`${log}.put-aside`));
      rmSync(`${path}-shm`, { force: true }); // an index of the log, no more
    },
    end: writes.end,
  };
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
 * Tells writes of the file that SQLite did not do: into a file with a log it writes by checkpoints alone, of whatever
 * process, and each of them is noted in the log's index before its first write and after its last.
 */
function watchWrites(path: string): { areForeign(): boolean; end(): void } {
  const index = openSync(`${path}-shm`, "r"); // kept open: a close would end the locks of the connection
  const bytes = Buffer.alloc(INDEX_BYTES);
  let [known, written] = [checkpoint(), writtenAt(path)];

  function checkpoint(): { id: string; isUnderWay: boolean } {
    readSync(index, bytes, 0, INDEX_BYTES, 0);
    const [done, started] = [bytes.readUInt32LE(WRITTEN_AT), bytes.readUInt32LE(STARTED_AT)];
    return { id: `${bytes.readBigUInt64LE(SALTS_AT)} ${done} ${started}`, isUnderWay: done !== started };
  }

  const isLater = (one: typeof known) => one.isUnderWay || known.isUnderWay || one.id !== known.id;

  function areForeign(): boolean {
    const before = checkpoint();
    const at = writtenAt(path);
    // One may have begun between the two looks.
    if (at !== written && !isLater(before) && !isLater(checkpoint())) return true;
    [known, written] = [before, at];
    return false;
  }

  return { areForeign, end: () => closeSync(index) };
}

export const fileMoved = (): Error =>
  Object.assign(new Error("the database file was deleted, replaced or written over while the service had it open"), {
    code: FILE_MOVED,
  });

function writtenAt(file: string): string {
  try {
    const { size, mtimeNs } = statSync(file, { bigint: true });
    return `${size} ${mtimeNs}`;
  } catch {
    return ""; // as if it had been written: whether it is there at all is looked at first
  }
}
