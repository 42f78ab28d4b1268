import { and, eq, sql } from "drizzle-orm";
import { type Db, statement, step } from "../db/db.ts";
import { NOBODY_TO_TELL } from "../db/outbox-tables.ts";
import type { Ledger } from "./ledger.ts";

/** Conversations that are looked at in one statement: others' writes wait for it. */
const CHUNK = 1_000;
const FIRST = "00000000-0000-0000-0000-000000000000";
const LAST = "ffffffff-ffff-ffff-ffff-ffffffffffff";

const selectStrange = ({ cursor }: Ledger) =>
  statement([], (db) => {
    const c = db.tables.conversations;
    return db.select({ id: c.id }).from(c).where(eq(c[cursor], NOBODY_TO_TELL)).limit(1);
  });

const selectEnd = statement(["after", "skip"], (db, $) => {
  const c = db.tables.conversations;
  return db.select({ id: c.id }).from(c).where(sql`${c.id} > ${$.after}`).orderBy(c.id).limit(1).offset($.skip);
});

const adopt = ({ cursor }: Ledger) =>
  statement(["after", "upTo"], (db, $) => {
    const c = db.tables.conversations;
    return db
      .update(c)
      .set({ [cursor]: sql`${c.rev}` })
      .where(and(sql`${c.id} > ${$.after} and ${c.id} <= ${$.upTo}`, eq(c[cursor], NOBODY_TO_TELL)));
  });

type Log = { info(fields: object, message: string): void };

/** Conversations that were made while there was nobody to tell: what they are now is history, what changes is told. */
export async function adoptHistory(db: Db, ledger: Ledger, log: Log): Promise<void> {
  if ((await db.all(selectStrange(ledger), {})).length === 0) return;
  log.info({}, `taking over the conversations from before ${ledger.name} was there`);
  const adoptPart = adopt(ledger);
  for (let after: string | undefined = FIRST; after !== undefined; ) {
    const [end]: { id: string }[] = await db.all(selectEnd, { after, skip: CHUNK - 1 });
    await db.batch([step(adoptPart, { after, upTo: end?.id ?? LAST })]);
    after = end?.id;
  }
}
