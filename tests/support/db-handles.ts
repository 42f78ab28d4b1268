import { afterAll, beforeAll, onTestFinished } from "vitest";
import type { Db } from "../../src/db/db.ts";
import { open } from "./databases.ts";

/** One database for all tests of a `describe`, and a second handle on it: another process, as far as it can tell. */
export type Handles = { url: string; db: Db; other: Db };

/** Opens both for all tests of a `describe`, and closes them when these are over. */
export function openBoth(fresh: () => Promise<string>, given: (handles: Handles) => void): void {
  let opened: Db[] = [];
  beforeAll(async () => {
    const url = await fresh();
    const [db, other] = [await open(url), await open(url)];
    opened = [db, other];
    given({ url, db, other });
  });
  afterAll(() => Promise.all(opened.map((one) => one.close())));
}

/** Tests of a shared database keep apart by ids and users of their own. */
export function useDatabase(fresh: () => Promise<string>): Handles {
  const handles = {} as Handles;
  openBoth(fresh, (opened) => Object.assign(handles, opened));
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
