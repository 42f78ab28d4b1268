// A program of its own, run by tests/db/outage.test.ts: a test could not outlive a process that a lost connection ends.
import { randomUUID } from "node:crypto";
import { openDatabase, parseDatabaseUrl } from "../../src/db/index.ts";
import { insertMark, marksOf, raiseMark } from "./db-marks.ts";
import { question } from "./db-questions.ts";

const [url = "", held = "", name = ""] = process.argv.slice(2);
const db = await openDatabase(parseDatabaseUrl(url), { poolMax: 21 }); // ten for each kind
const { put, raise, userId } = marksOf(`waits for ${held}`);
const newIds = () => ({ turnId: randomUUID(), questionId: randomUUID(), answerId: randomUUID() });
const ask = (conversationId: string, create: boolean) =>
  db.turnWrites.begin({ ...question({ conversationId, userId }), ...newIds() }, create);

type Form = { touch(id: string): PromiseLike<unknown>; store(): PromiseLike<unknown> };

const forms: Record<string, Form> = {
  batches: {
    touch: (id) => db.batch([put(randomUUID(), 1), raise(id)]),
    store: () => db.batch([put(randomUUID())]),
  },
  turns: {
    touch: (id) => ask(id, false),
    store: () => ask(randomUUID(), true),
  },
  statements: {
    touch: (id) => db.all(raiseMark, { id }),
    store: () => db.all(insertMark, { id: randomUUID(), userId, rev: 0 }),
  },
};

/** Waits for the row that is held, and once that has failed tries at once to store another, until it is stored. */
async function run({ touch, store }: Form): Promise<void> {
  const [first] = await Promise.allSettled([touch(held)]);
  if (first.status === "fulfilled") return;
  console.log("lost");
  for (;;) {
    const [again] = await Promise.allSettled([store()]);
    if (again.status === "fulfilled") return console.log("stored");
  }
}

const { [name]: form } = forms;
if (!form) throw new Error(`there is no form ${name}`);
const onEveryConnection = <R>(start: () => PromiseLike<R>) => Promise.all(Array.from({ length: 10 }, start));

await onEveryConnection(() => Promise.allSettled([form.touch(randomUUID())])); // a connection behaves otherwise once it knows a statement
await onEveryConnection(() => run(form));
await db.close();
