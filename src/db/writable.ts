import type { Db } from "./db.ts";
import { isUnavailable } from "./trouble.ts";
import { within } from "./within.ts";
import { proveByWriting } from "./write-proof.ts";

/** How long a proof that the database can be written counts, and a failure to write it, in milliseconds. */
const COUNTS_MS = 2_000;

/**
 * The same database, whose `ping` also proves that it can be written: a full disk lets it be read. A write is tried every
 * two seconds at most, and none right after one of somebody's has failed; a small one may have room where others have not.
 */
export function provenByWriting(db: Db, clock: () => number): Db {
  let provedAt = Number.NEGATIVE_INFINITY;
  let failure: { error: unknown; at: number } | undefined;
  let proving: Promise<void> | undefined;

  function heed(error: unknown): never {
    if (isUnavailable(error)) failure = { error, at: performance.now() };
    throw error;
  }

  async function prove(): Promise<void> {
    const asked = performance.now();
    if (failure && asked - failure.at < COUNTS_MS) throw failure.error;
    if (!failure && asked - provedAt < COUNTS_MS) return;
    await proveByWriting(db, clock()).catch(heed);
    provedAt = performance.now();
    if (failure && failure.at < asked) failure = undefined;
  }

  const { begin, beginAgain, finish } = db.turnWrites;
  return {
    ...db,
    batch: (steps) => db.batch(steps).catch(heed),
    turnWrites: {
      begin: (input, create) => begin(input, create).catch(heed),
      beginAgain: (input) => beginAgain(input).catch(heed),
      finish: (input) => finish(input).catch(heed),
    },
    async ping(ms) {
      const started = performance.now();
      await db.ping(ms);
      proving ??= prove().finally(() => {
        proving = undefined;
      });
      await within(Math.max(0, ms - (performance.now() - started)), proving);
    },
  };
}
