import { type Db, statement, step } from "./db.ts";

/** A key of nobody, since users have names: whoever looks for keys never finds it, and it is forgotten with the expired. */
const NOBODY = { userId: "", key: "can this be written?", requestHash: "" };

const writeProof = statement(["now"], (db, $) => {
  const k = db.tables.idempotencyKeys;
  const expiresAt = $.now; // another value each time: one that is there already would not be written
  return db
    .insert(k)
    .values({ ...NOBODY, expiresAt })
    .onConflictDoUpdate({ target: [k.userId, k.key], set: { expiresAt } });
});

/** Writes next to nothing, to see whether the database can be written. Throws where it cannot. */
export async function proveByWriting(db: Pick<Db, "batch">, now: number): Promise<void> {
  await db.batch([step(writeProof, { now })]);
}
