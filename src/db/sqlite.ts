import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import Database from "better-sqlite3";
import { drizzle } from "drizzle-orm/better-sqlite3";
import { type Columns, clocks, jsonFields, sqliteColumns } from "./columns.ts";
import { Conflict, type Db, preparer, type Source, type Step, type Verbs, verbsOf } from "./db.ts";
import { type Born, bornFor } from "./outbox-tables.ts";
import { mapPlainly } from "./plain-rows.ts";
import { type FileState, type FileWatch, fileMoved, guarded, refuseOverwritten, watchFile } from "./sqlite-file.ts";
import type { Hold } from "./sqlite-hold.ts";
import { makeTables } from "./tables.ts";
import { batchedTurnWrites } from "./turn-writes.ts";

export const tables = makeTables(sqliteColumns as unknown as Columns);
// drizzle-kit reads tables from the exports of this file.
export const {
  conversations,
  messages,
  messageExtensions,
  turns,
  idempotencyKeys,
  tombstones,
  readMarkers,
  erasures,
  deliveries,
  mirrorings,
  streamMessages,
  streamChannels,
  streamEvents,
} = tables;

export type Synchronous = "full" | "normal";

type Prepared = { execute(values: Step<unknown>["values"]): { sync(): unknown } };
type Waiting = { steps: readonly Step<unknown>[]; resolve(rows: unknown[][]): void; reject(error: unknown): void };

const BUSY_TIMEOUT_MS = 250; // blocks the event loop, so it is short; what is still busy then waits asleep
const BUSY_PAUSE_MS = 50;
const BUSY_RETRIES = 20;

/** Opens the file (":memory:" for none) with every PRAGMA set; folders on the way to it are made. */
export function openClient(path: string, synchronous: Synchronous): Database.Database {
  if (path !== ":memory:") mkdirSync(dirname(path), { recursive: true });
  const client = new Database(path, { timeout: BUSY_TIMEOUT_MS });
  client.pragma("journal_mode = WAL");
  client.pragma(`synchronous = ${synchronous}`);
  client.pragma(`busy_timeout = ${BUSY_TIMEOUT_MS}`);
  client.pragma("foreign_keys = ON");
  client.pragma("temp_store = MEMORY");
  client.pragma("secure_delete = ON"); // FAST leaves what stood on pages that are free as a whole
  client.pragma("cache_size = -16000"); // 16 MB
  client.pragma("wal_autocheckpoint = 1000"); // pages
  return client;
}

/**
 * Writes the log into the file and cuts it to nothing: until then it holds what stood there before. Waits for nobody, as
 * that would hold up the process; somebody who reads or writes at this moment leaves it to the next time.
 */
function emptyLog(client: Database.Database): void {
  client.pragma("busy_timeout = 0");
  try {
    client.pragma("wal_checkpoint(TRUNCATE)");
  } catch (error) {
    if (!isBusy(error)) throw error;
  } finally {
    client.pragma(`busy_timeout = ${BUSY_TIMEOUT_MS}`);
  }
}

type Held = {
  born?: Born;
  /** The lock of a file that this process holds alone. */
  hold?: Hold | undefined;
  /** Told when the file turns out to be no longer this process's to write, and when it is again. */
  moved?: (state: FileState) => void;
};

/** The database over one SQLite connection. All batches that wait at the same moment share one commit. */
export function sqliteDb(client: Database.Database, { born = bornFor({}), hold, moved = () => {} }: Held = {}): Db {
  const file = watchFile(client, hold, moved);
  const verbs = verbsOf(drizzle({ client: guarded(client, file), casing: "snake_case" }) as unknown as Verbs);
  const source: Source = { ...verbs, ...jsonFields.sqlite, tables, now: clocks.sqlite, born };
  const prepare = preparer<Prepared>(source, mapPlainly);
  let committed = (_batches: number) => {};
  const run = (steps: readonly Step<unknown>[]) => steps.map((step) => runStep(prepare, step));
  const commit = groupCommit(client, { run, file, committed: (batches) => committed(batches) });

  const db: Db = {
    ...source,
    async all(statement: never, values: never) {
      refuseOverwritten(file); // where it is moved, the connection only reads from then on
      return rowsOf(prepare(statement).execute(values).sync()) as never;
    },
    batch: (steps: readonly Step<unknown>[]) =>
      new Promise<unknown[][]>((resolve, reject) => commit({ steps, resolve, reject })) as never,
    turnWrites: batchedTurnWrites(() => db),
    onCommit: (hear) => {
      committed = hear;
    },
    carrier: null, // one process, as a rule; others see its changes when they look
    isAlone: hold !== undefined,
    async ping() {
      if (file.now() !== "ours") throw fileMoved();
      client.prepare("select 1").get();
    },
    async settleErasure() {
      if (file.now() === "ours") emptyLog(client); // else the log would go into what stands there now
    },
    async close() {
      const state = file.now();
      // A close would write the log of this database into what stands there now, as the next start would.
      if (state === "moved" || state === "overwritten") file.putLogAside();
      if (state !== "ours") return;
      client.pragma("wal_checkpoint(TRUNCATE)"); // the close does it only where nobody else has the file open
      client.close();
      file.end();
      hold?.letGo();
    },
  };
  return db;
}

function runStep(prepare: (statement: Step<unknown>["statement"]) => Prepared, step: Step<unknown>): unknown[] {
  const rows = rowsOf(prepare(step.statement).execute(step.values).sync());
  if (step.guard && rows.length === 0) throw Conflict();
  return rows;
}

// Without RETURNING the driver gives a write result, which the two databases do not share.
const rowsOf = (result: unknown): unknown[] => (Array.isArray(result) ? result : []);

type Group = {
  run(steps: readonly Step<unknown>[]): unknown[][];
  file: FileWatch;
  committed(batches: number): void;
};

/** Commits every batch that waits at the same moment together, each under a savepoint of its own. */
function groupCommit(client: Database.Database, { run, file, committed }: Group) {
  const begin = client.prepare("begin immediate");
  const commit = client.prepare("commit");
  const rollback = client.prepare("rollback");
  const savepoint = client.prepare("savepoint batch");
  const undo = client.prepare("rollback to batch");
  const release = client.prepare("release batch");
  let waiting: Waiting[] = [];
  let refusals = 0;

  // Synchronous from BEGIN to COMMIT: nothing else can slip a statement into the transaction.
  function flush() {
    try {
      if (file.forCommit() !== "ours") throw fileMoved();
      begin.run();
    } catch (error) {
      if (isBusy(error) && ++refusals <= BUSY_RETRIES) return void setTimeout(flush, BUSY_PAUSE_MS);
      return settleAll(takeGroup(), error);
    }
    const group = takeGroup();
    try {
      const settle = group.map(runBatch);
      commit.run();
      committed(group.length);
      for (const done of settle) done();
    } catch (error) {
      // Disk full and its like end the whole transaction: nothing of the group is stored.
      if (client.inTransaction) rollback.run();
      settleAll(group, error);
    }
  }

  function runBatch(batch: Waiting): () => void {
    savepoint.run();
    try {
      const rows = run(batch.steps);
      release.run();
      return () => batch.resolve(rows);
    } catch (error) {
      if (!client.inTransaction) throw error;
      undo.run();
      release.run();
      return () => batch.reject(isTaken(error) ? Conflict() : error);
    }
  }

  function takeGroup(): Waiting[] {
    const group = waiting;
    waiting = [];
    refusals = 0;
    return group;
  }

  return (batch: Waiting) => {
    if (waiting.push(batch) === 1) setImmediate(flush);
  };
}

function settleAll(group: readonly Waiting[], error: unknown) {
  for (const batch of group) batch.reject(error);
}

const isTaken = (error: unknown): boolean =>
  error instanceof Database.SqliteError && /^SQLITE_CONSTRAINT_(UNIQUE|PRIMARYKEY)$/.test(error.code);

const isBusy = (error: unknown): boolean =>
  error instanceof Database.SqliteError && error.code.startsWith("SQLITE_BUSY");
