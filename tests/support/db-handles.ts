import { afterAll, beforeAll, onTestFinished } from "vitest";
import type { Db } from "../../src/db/db.ts";
import { open } from "./databases.ts";

/** One database for all tests of a `describe`, and a second handle on it: another process, as far as it can tell. */
export type Handles = { url: string; db: Db; other: Db };

/** Tests of a shared database keep apart by ids and users of their own. */
export function useDatabase(fresh: () => Promise<string>): Handles {
  const handles = {} as Handles;
  beforeAll(async () => {
    handles.url = await fresh();
    handles.db = await open(handles.url);
    handles.other = await open(handles.url);
  });
  afterAll(async () => {
    await handles.db?.close();
    await handles.other?.close();
  });
  return handles;
}

/** Closes a handle when the test is over. */
export function closing<D extends Pick<Db, "close">>(db: D): D {
  onTestFinished(() => db.close());
  return db;
}

/** What a promise was refused with; one that is kept fails the test. */
export const refusal = (promise: PromiseLike<unknown>): Promise<unknown> =>
  Promise.resolve(promise).then(
    () => {
      throw new Error("it was not refused");
    },
    (error: unknown) => error,
  );
