import { AsyncLocalStorage } from "node:async_hooks";
import { is, Param, Placeholder, sql } from "drizzle-orm";
import type { Actor } from "../../src/core/identity.ts";
import type { Db, Source, Step, Values, Verbs } from "../../src/db/db.ts";
import { type Scope, scopeSlots } from "../../src/db/scope.ts";
import { batchedTurnWrites } from "../../src/db/turn-writes.ts";

/** What the process does for itself, where no caller's scope belongs: files of `src`, or one function of a file. */
export const PROCESS: Readonly<Record<string, string>> = {
  "core/running.ts": "the turns it runs, which were begun in scope",
  "core/clearing.ts": "what is left of conversations that are deleted already",
  "core/retention.ts": "what is kept no longer, whoever's it is",
  "core/upkeep.ts": "leases, the text so far, keys whose time is over",
  "core/recovery.ts": "turns that others lost",
  "core/watch.ts": "the revisions of the sessions that somebody watches, and no more of them",
  "core/desks.ts": "the sessions that are before some agent, of which each desk is told what is in its scope",
  "outbox/claims.ts": "who is told of a conversation, and how far",
  "outbox/history.ts": "what was there before anybody was told",
  "stream-chat/backlog.ts": "what Stream has not been shown, for admins",
  "stream-chat/ids.ts": "what conversations and messages are called at Stream",
  "stream-chat/inbox-rows.ts": "what Stream Chat has told, until something is made of it",
  "stream-chat/place.ts": "what an event of Stream's is about, whose signature stands in a caller's place",
  "db/write-proof.ts": "a row of nobody's, to see whether it can be written",
  "db/turn-finish.ts": "the statements with which it ends a turn of its own",
  "db/turn-writes.ts finish": "ends a turn of its own: the fence is the turn that is still in progress",
};

/** Who the process is where it reads once for all who watch. No caller can be: each has an id. */
const EVERYBODY: Scope = { self: "", sees: "all", owner: null };

/** Passes on what others ask: who asks stands behind it. */
const PASSES_ON = ["db/announcing.ts", "db/measured.ts", "db/writable.ts"];

export type Recorder = {
  /** Does the work for a caller, whose accesses are all that it may make; null where it must touch no rows. */
  as<R>(caller: Actor | null, work: () => R): R;
  /** Accesses that did not say who they were for, in words. */
  unlawful: string[];
  /** How many there were, lawful or not, beside those of the process itself. */
  seen: number;
  over(db: Db): Db;
};

/**
 * Stands between a service and its database, and holds every access against the caller for whom it is made. What the
 * process reads for all who watch must be a conversation that some caller has found in scope before.
 */
export function createRecorder(database: "SQLite" | "Postgres"): Recorder {
  const slotsOf = slotReader();
  const callers = new AsyncLocalStorage<Actor | null>();
  const found = new Set<unknown>();
  const recorder: Recorder = { as: (caller, work) => callers.run(caller, work), unlawful: [], seen: 0, over };

  function judge(values: Values<string>, slots: ReadonlySet<string>): void {
    const by = accessor();
    if (by.some((name) => name in PROCESS)) return;
    recorder.seen++;
    const caller = callers.getStore();
    const say = (what: string) => recorder.unlawful.push(`${by[1]} ${what}`);
    if (isFor(EVERYBODY, values, slots)) {
      if (!found.has(placeOf(values))) say("read for all who watch what none had found");
    } else if (!caller) say("ran for a request that may touch nothing");
    else if (!isFor(caller, values, slots)) say("did not say who it was for");
  }

  function over(db: Db): Db {
    const raw = (verb: keyof Verbs) =>
      ((...args: never[]) => {
        judge({}, new Set());
        return (db[verb] as (...args: never[]) => unknown)(...args);
      }) as never;
    const own: Db = {
      ...db,
      ...{ select: raw("select"), insert: raw("insert"), update: raw("update"), delete: raw("delete") },
      async all(statement, values) {
        judge(values, slotsOf(db, statement));
        const rows = await db.all(statement, values);
        if (rows.length > 0) found.add(placeOf(values));
        for (const row of rows as { turn?: { id: string } }[]) if (row?.turn) found.add(row.turn.id);
        return rows;
      },
      batch(steps) {
        const [first, ...others] = steps as readonly Step<unknown>[];
        if (first) judge(first.values, first.guard ? slotsOf(db, first.statement) : new Set());
        const strays = others.some(({ values }) => isElsewhere(values, first?.values));
        if (strays) recorder.unlawful.push(`${accessor()[1]} changed a conversation that its guard is not of`);
        return db.batch(steps);
      },
    };
    return { ...own, turnWrites: writesOver(db, own) };
  }

  // Batches are looked into; the statements that Postgres has of its own are held to their input.
  function writesOver(db: Db, own: Db): Db["turnWrites"] {
    if (database === "SQLite") return batchedTurnWrites(() => own);
    const { begin, beginAgain, finish } = db.turnWrites;
    return {
      begin(input, create) {
        judge(input, new Set(create ? ["userId"] : scopeSlots));
        return begin(input, create);
      },
      beginAgain(input) {
        judge(input, new Set(scopeSlots));
        return beginAgain(input);
      },
      finish,
    };
  }
  return recorder;
}

/** The scope is the caller's, or the row belongs to the caller's user. */
function isFor(caller: Scope & { userId?: string }, values: Values<string>, slots: ReadonlySet<string>): boolean {
  if (scopeSlots.every((slot) => slots.has(slot))) return scopeSlots.every((slot) => values[slot] === caller[slot]);
  return slots.has("userId") && (values["userId"] === caller.self || values["userId"] === caller.userId);
}

/** The conversation or the turn that a reading is of. */
const placeOf = (values: Values<string>): unknown => values["turnId"] ?? values["conversationId"] ?? values["id"];

/** Of another conversation than the guard's. */
const isElsewhere = ({ conversationId }: Values<string>, guarded: Values<string> | undefined): boolean =>
  conversationId !== undefined &&
  guarded?.["conversationId"] !== undefined &&
  conversationId !== guarded["conversationId"];

/** The slots that stand in the SQL of a statement, whatever it declares. */
function slotReader() {
  const known = new WeakMap<object, ReadonlySet<string>>();
  return (db: Source, statement: Step<unknown>["statement"]): ReadonlySet<string> => {
    const before = known.get(statement);
    if (before) return before;
    const slots = Object.fromEntries(statement.slots.map((name) => [name, sql.placeholder(name)]));
    const query = statement.build(db, slots as never) as unknown as { toSQL(): { params: unknown[] } };
    const names = query.toSQL().params.flatMap((param) => {
      const value = is(param, Param) ? param.value : param;
      return is(value, Placeholder) ? [value.name] : [];
    });
    const found = new Set(names);
    known.set(statement, found);
    return found;
  };
}

/** Which part of the service asks, by file, and by file and function. */
function accessor(): [string, string] {
  const frames = [
    ...(new Error().stack ?? "").matchAll(
      /at (?:async )?(?:[\w$]+\.)?([\w$<>]+) .*\/src\/((?:core|db|outbox|stream-chat)\/[\w-]+\.ts)/g,
    ),
  ];
  const [, name = "?", file = "?"] = frames.find(([, , at = ""]) => !PASSES_ON.includes(at)) ?? [];
  return [file, `${file} ${name}`];
}
