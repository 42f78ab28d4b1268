// A program of its own, run by tests/db/outage.test.ts: a test could not outlive a process that a lost connection ends.
import { randomUUID } from "node:crypto";
import { eq } from "drizzle-orm";
import { openDatabase, parseDatabaseUrl } from "../../src/db/index.ts";
import { marksOf } from "./db-marks.ts";

const [url = "", held = "", form = ""] = process.argv.slice(2);
const db = await openDatabase(parseDatabaseUrl(url));
const t = db.tables.tombstones;
const { put, raise, userId } = marksOf("outage");

const forms: Record<string, { wait(): PromiseLike<unknown>; store(): PromiseLike<unknown> }> = {
  batches: {
    wait: () => db.batch([put(randomUUID()), raise(held)]),
    store: () => db.batch([put(randomUUID())]),
  },
  statements: {
    wait: () => db.update(t).set({ rev: 1 }).where(eq(t.id, held)),
    store: () => db.insert(t).values({ id: randomUUID(), userId, rev: 0, deletedAt: 0 }),
  },
};

const AT_ONCE = 10; // as many as there are connections

async function failures(run: (() => PromiseLike<unknown>) | undefined): Promise<number> {
  const outcomes = await Promise.allSettled(Array.from({ length: AT_ONCE }, () => run?.()));
  return outcomes.filter(({ status }) => status === "rejected").length;
}

console.log("lost", await failures(forms[form]?.wait));

let stored = 0;
for (let failed = AT_ONCE; failed > 0; stored += AT_ONCE - failed) failed = await failures(forms[form]?.store);
console.log("stored", stored); // connections that lay idle were found dead on the way
await db.close();
