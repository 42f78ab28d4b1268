import type { Db } from "./db.ts";

/** What a write is for: to begin a turn, to finish one, or whatever else. */
export type Write = "begin" | "finish" | "other";

/** The same database; `took` is called with the milliseconds from each write's call to its commit, or its failure. */
export function measured(db: Db, took: (write: Write, ms: number) => void): Db {
  const { begin, beginAgain, finish } = db.turnWrites;
  async function timed<R>(write: Write, work: Promise<R>): Promise<R> {
    const started = performance.now();
    try {
      return await work;
    } finally {
      took(write, performance.now() - started);
    }
  }
  return {
    ...db,
    batch: (steps) => timed("other", db.batch(steps)),
    turnWrites: {
      begin: (input, create) => timed("begin", begin(input, create)),
      beginAgain: (input) => timed("begin", beginAgain(input)),
      finish: (input) => timed("finish", finish(input)),
    },
  };
}
