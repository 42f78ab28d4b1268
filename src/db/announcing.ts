import type { Db, Step } from "./db.ts";

/** The same database; `changed` is called with each conversation that a commit has changed, once it is stored. */
export function announcing(db: Db, changed: (conversationId: string) => void): Db {
  const { begin, beginAgain, finish } = db.turnWrites;
  const after = async <R>(conversationId: string, work: Promise<R>): Promise<R> => {
    const result = await work;
    changed(conversationId);
    return result;
  };
  const batch = async (steps: readonly Step<unknown>[]): Promise<unknown> => {
    const rows = await db.batch(steps);
    const conversationId = steps[0]?.values["conversationId"];
    if (typeof conversationId === "string") changed(conversationId);
    return rows;
  };
  return {
    ...db,
    batch: batch as Db["batch"],
    turnWrites: {
      begin: (input, create) => after(input.conversationId, begin(input, create)),
      beginAgain: (input) => after(input.conversationId, beginAgain(input)),
      finish: (input) => after(input.conversationId, finish(input)),
    },
  };
}
