import { and, eq, sql } from "drizzle-orm";
import { type Db, statement, step } from "../db/db.ts";
import { NOBODY_TO_TELL } from "../db/tables.ts";

/** Conversations that are looked at in one statement: others' writes wait for it. */
const CHUNK = 1_000;
const FIRST = "00000000-0000-0000-0000-000000000000";
const LAST = "ffffffff-ffff-ffff-ffff-ffffffffffff";

const selectStrange = statement([], (db) => {
  const c = db.tables.conversations;
  return db.select({ id: c.id }).from(c).where(eq(c.told, NOBODY_TO_TELL)).limit(1);
});

const selectEnd = statement(["after", "skip"], (db, $) => {
  const c = db.tables.conversations;
  return db.select({ id: c.id }).from(c).where(sql`${c.id} > ${$.after}`).orderBy(c.id).limit(1).offset($.skip);
});

const adopt = statement(["after", "upTo"], (db, $) => {
  const c = db.tables.conversations;
  return db
    .update(c)
    .set({ told: sql`${c.rev}` })
    .where(and(sql`${c.id} > ${$.after} and ${c.id} <= ${$.upTo}`, eq(c.told, NOBODY_TO_TELL)));
});

type Log = { info(fields: object, message: string): void };

/** Conversations that were made while there was nobody to tell: what they are now is history, what changes is told. */
export async function adoptHistory(db: Db, log: Log): Promise<void> {
  if ((await db.all(selectStrange, {})).length === 0) return;
  log.info({}, "taking over the conversations from before there was a webhook");
  for (let after: string | undefined = FIRST; after !== undefined; ) {
    const [end]: { id: string }[] = await db.all(selectEnd, { after, skip: CHUNK - 1 });
    await db.batch([step(adopt, { after, upTo: end?.id ?? LAST })]);
    after = end?.id;
  }
}
