import { type AnyColumn, sql } from "drizzle-orm";
import * as pg from "drizzle-orm/pg-core";
import * as lite from "drizzle-orm/sqlite-core";

// JSON goes through one mapper on both sides: Drizzle's own turn a null placeholder into the text 'null'.
const toJson = (value: unknown) => (value === null ? null : JSON.stringify(value));
const fromJson = (value: unknown) => (typeof value === "string" ? JSON.parse(value) : value);

const pgJson = pg.customType<{ data: unknown }>({ dataType: () => "json", toDriver: toJson, fromDriver: fromJson });
const liteJson = lite.customType<{ data: unknown }>({ dataType: () => "text", toDriver: toJson, fromDriver: fromJson });

/** The words in which tables are written, in Postgres' spelling. Times are milliseconds since 1970. */
export const postgresColumns = {
  table: pg.pgTable,
  index: pg.index,
  uniqueIndex: pg.uniqueIndex,
  primaryKey: pg.primaryKey,
  id: () => pg.uuid(),
  text: () => pg.text(),
  oneOf: <const T extends readonly [string, ...string[]]>(words: T) => pg.text({ enum: words }),
  count: () => pg.integer(),
  amount: () => pg.doublePrecision(),
  time: () => pg.bigint({ mode: "number" }),
  flag: () => pg.boolean(),
  json: <T>() => pgJson().$type<T>(),
  /** The bytes of another column's text. The database keeps it, so it can be judged without reading the text. */
  sizeOf: (column: string) =>
    pg
      .integer()
      .notNull()
      .generatedAlwaysAs(sql.raw(`octet_length(${column})`)),
};

export type Columns = typeof postgresColumns;

/** The same words in SQLite's spelling, held key by key: two instances of a mapped generic never compare as equal. */
export const sqliteColumns = {
  table: lite.sqliteTable,
  index: lite.index,
  uniqueIndex: lite.uniqueIndex,
  primaryKey: lite.primaryKey,
  id: () => lite.text(),
  text: () => lite.text(),
  oneOf: <const T extends readonly [string, ...string[]]>(words: T) => lite.text({ enum: words }),
  count: () => lite.integer(),
  amount: () => lite.real(),
  time: () => lite.integer(),
  flag: () => lite.integer({ mode: "boolean" }),
  json: <T>() => liteJson().$type<T>(),
  sizeOf: (column: string) =>
    lite
      .integer()
      .notNull()
      .generatedAlwaysAs(sql.raw(`octet_length(${column})`), { mode: "stored" }),
} satisfies Record<keyof Columns, unknown>;

/** A value inside a JSON column, and how many bytes the column holds. */
export const jsonFields = {
  postgres: {
    numberIn: (column: AnyColumn, field: string) => sql<number>`cast(${column} ->> ${field} as double precision)`,
    flagIn: (column: AnyColumn, field: string) => sql<boolean>`cast(${column} ->> ${field} as boolean)`,
    textIn: (column: AnyColumn, field: string) => sql<string>`(${column} ->> ${field})`,
    bytesOf: (column: AnyColumn) => sql<number>`octet_length(cast(${column} as text))`,
  },
  sqlite: {
    numberIn: (column: AnyColumn, field: string) => sql<number>`(${column} ->> ${field})`,
    flagIn: (column: AnyColumn, field: string) => sql<boolean>`(${column} ->> ${field})`,
    textIn: (column: AnyColumn, field: string) => sql<string>`(${column} ->> ${field})`,
    bytesOf: (column: AnyColumn) => sql<number>`octet_length(${column})`,
  },
};

/** The database's own clock in milliseconds: leases are compared by it, since instances' clocks differ. */
export const clocks = {
  postgres: sql<number>`(extract(epoch from clock_timestamp()) * 1000)::bigint`,
  sqlite: sql<number>`cast(unixepoch('subsec') * 1000 as integer)`,
};
