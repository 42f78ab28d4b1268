import { type AnyColumn, type Placeholder, type SQL, type SQLWrapper, sql } from "drizzle-orm";
import type { PgDatabase } from "drizzle-orm/pg-core";
import type { PostgresJsQueryResultHKT } from "drizzle-orm/postgres-js";
import type { Carrier } from "./carrier.ts";
import type { Born } from "./outbox-tables.ts";
import type { Tables } from "./tables.ts";
import type { TurnWrites } from "./turn-writes.ts";

/** Drizzle's verbs, typed as Postgres has them: the narrower of the two dialects. */
export type Verbs = Pick<PgDatabase<PostgresJsQueryResultHKT>, "select" | "insert" | "update" | "delete">;

/** What a statement is built from. `now` is the database's own clock in milliseconds. */
export type Source = Verbs & {
  readonly tables: Tables;
  readonly now: SQL<number>;
  /** What the webhook and Stream Chat have been told of a conversation that is made now. */
  readonly born: Born;
  /** A number, a flag or a text inside a JSON column. */
  numberIn(column: AnyColumn, field: string): SQL<number>;
  flagIn(column: AnyColumn, field: string): SQL<boolean>;
  textIn(column: AnyColumn, field: string): SQL<string>;
  /** Bytes of a column's text or JSON. */
  bytesOf(column: AnyColumn): SQL<number>;
};

/** One database. There is no `transaction`: what must happen together is a `batch`. */
export type Db = Source & {
  /** Runs a reading statement, prepared once for this handle. */
  all<K extends string, R>(statement: Statement<K, R>, values: Values<K>): Promise<R[]>;
  /**
   * Runs all steps in order or none, and resolves after the commit with the rows of each.
   * Throws `Conflict` when a guard yields no row or a unique key is taken.
   */
  batch<const S extends readonly Step<unknown>[]>(steps: S): Promise<RowsOf<S>>;
  readonly turnWrites: TurnWrites;
  /** The way to other instances on the same database, where it has one. */
  readonly carrier: Carrier | null;
  /** From now on `hear` is told of every commit how many batches have shared it; never called where each has its own. */
  onCommit(hear: (batches: number) => void): void;
  /** Whether no other process runs turns on it: what is open when this one starts is of a process that has ended. */
  readonly isAlone: boolean;
  /** Takes what was erased out of where the database keeps it for a while: SQLite's log. Postgres does it by VACUUM. */
  settleErasure(): Promise<void>;
  /** Resolves when the database answers; throws when it does not within `ms`, or its file is not under its name. */
  ping(ms: number): Promise<void>;
  close(): Promise<void>;
};

export type Values<K extends string> = Readonly<Record<K, unknown>>;

type Preparable<R> = PromiseLike<R[]> & { prepare(name: string): unknown };

// A slot stands wherever a value may: `never` fits every parameter of the builders.
type Slots<K extends string> = Readonly<Record<K, never>>;

export type Statement<K extends string, R> = {
  readonly slots: readonly K[];
  build(db: Source, slots: Slots<K>): Preparable<R>;
};

/** Declares a statement with named slots; each database handle prepares it once, at its first use. */
export function statement<const K extends string, R>(
  slots: readonly K[],
  build: (db: Source, slots: Slots<K>) => Preparable<R>,
): Statement<K, R> {
  return { slots, build };
}

/** The later of a time that is stored and now: the clocks of two instances differ, and no time goes back. */
export const later = (column: AnyColumn, now: SQLWrapper): SQL<number> =>
  sql`case when ${column} > cast(${now} as bigint) then ${column} else cast(${now} as bigint) end`;

export type Step<R> = {
  readonly statement: { readonly slots: readonly string[]; build(db: Source, slots: never): Preparable<R> };
  readonly values: Values<string>;
  readonly guard: boolean;
};

export type RowsOf<S extends readonly Step<unknown>[]> = {
  -readonly [I in keyof S]: S[I] extends Step<infer R> ? R[] : never;
};

/** One step of a batch. */
export function step<K extends string, R>(statement: Statement<K, R>, values: Values<K>): Step<R> {
  return { statement, values, guard: false };
}

/** A step that must yield a row, else the whole batch is undone. */
export function guard<K extends string, R>(statement: Statement<K, R>, values: Values<K>): Step<R> {
  return { statement, values, guard: true };
}

const conflict = Symbol("conflict");

/** What a batch throws when a guard had no row or a key was taken: somebody was there first, and nothing was stored. */
export const Conflict = (): Error => Object.assign(new Error("the batch met a conflict"), { [conflict]: true });

export const isConflict = (error: unknown): boolean => error instanceof Error && conflict in error;

/** A builder's verbs alone. */
export const verbsOf = (builder: Verbs): Verbs => ({
  select: builder.select.bind(builder),
  insert: builder.insert.bind(builder),
  update: builder.update.bind(builder),
  delete: builder.delete.bind(builder),
});

/** Prepares statements for one handle, has each finished, and keeps them. */
export function preparer<P extends object>(
  source: Source,
  finish = (prepared: P) => prepared,
): (statement: Step<unknown>["statement"]) => P {
  const kept = new Map<Step<unknown>["statement"], P>();
  return (statement) => {
    const known = kept.get(statement);
    if (known) return known;
    const slots: Record<string, Placeholder> = {};
    for (const name of statement.slots) slots[name] = sql.placeholder(name);
    const prepared = finish(statement.build(source, slots as never).prepare("parley") as P);
    kept.set(statement, prepared);
    return prepared;
  };
}
