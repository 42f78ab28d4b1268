import { is, Param, Placeholder, sql } from "drizzle-orm";
import type { Actor } from "../../src/core/identity.ts";
import type { Db, Source, Step, Values, Verbs } from "../../src/db/db.ts";
import { scopeSlots } from "../../src/db/scope.ts";
import { batchedTurnWrites } from "../../src/db/turn-writes.ts";

/** What the process does for itself, where no caller's scope belongs: files of `src`, or one function of a file. */
export const PROCESS: Readonly<Record<string, string>> = {
  "core/running.ts": "the turns it runs, which were begun in scope",
  "core/upkeep.ts": "leases, the text so far, keys whose time is over",
  "core/recovery.ts": "turns that others lost",
  "db/turn-finish.ts": "the statements with which it ends a turn of its own",
  "db/turn-writes.ts finish": "ends a turn of its own: the fence is the turn that is still in progress",
};

export type Recorder = {
  /** Whose request is being answered; null where it must touch no rows. */
  caller: Actor | null;
  /** Accesses that did not say who they were for, in words. */
  unlawful: string[];
  /** How many there were, lawful or not, beside those of the process itself. */
  seen: number;
  over(db: Db): Db;
};

/** Stands between a service and its database, and holds every access against the caller of the moment. */
export function createRecorder(database: "SQLite" | "Postgres"): Recorder {
  const slotsOf = slotReader();
  const recorder: Recorder = { caller: null, unlawful: [], seen: 0, over };

  function judge(values: Values<string>, slots: ReadonlySet<string>): void {
    const by = accessor();
    if (by.some((name) => name in PROCESS)) return;
    recorder.seen++;
    const { caller } = recorder;
    if (!caller) recorder.unlawful.push(`${by[1]} ran for a request that may touch nothing`);
    else if (!isFor(caller, values, slots)) recorder.unlawful.push(`${by[1]} did not say who it was for`);
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
      all(statement, values) {
        judge(values, slotsOf(db, statement));
        return db.all(statement, values);
      },
      batch(steps) {
        const [first] = steps as readonly Step<unknown>[];
        if (first) judge(first.values, first.guard ? slotsOf(db, first.statement) : new Set());
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
function isFor(caller: Actor, values: Values<string>, slots: ReadonlySet<string>): boolean {
  if (scopeSlots.every((slot) => slots.has(slot))) return scopeSlots.every((slot) => values[slot] === caller[slot]);
  return slots.has("userId") && (values["userId"] === caller.self || values["userId"] === caller.userId);
}

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

/** Who of core or db asks, by file, and by file and function. */
function accessor(): [string, string] {
  const frames = [
    ...(new Error().stack ?? "").matchAll(/at (?:async )?(?:[\w$]+\.)?([\w$<>]+) .*\/src\/((?:core|db)\/[\w-]+\.ts)/g),
  ];
  const [, name = "?", file = "?"] = frames[0] ?? [];
  return [file, `${file} ${name}`];
}
