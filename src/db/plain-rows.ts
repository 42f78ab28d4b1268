import { Column, is, SQL } from "drizzle-orm";

type Field = { path: string[]; field: unknown };
type Decode = (value: unknown) => unknown;
type Prepared = { fields?: Field[]; customResultMapper?: (rows: unknown[][]) => object[] };

/**
 * Makes a statement of Drizzle's map its rows by a list that is made once: by itself it asks of every value of every row
 * what kind of field it belongs to, which takes a fifth of what it takes to read a page of messages. What is not flat stays as it is.
 */
export function mapPlainly<P extends object>(statement: P): P {
  const prepared: Prepared = statement;
  const columns = prepared.fields?.map(({ path: [name, ...more], field }) => {
    const decoder = decoderOf(field);
    return name !== undefined && more.length === 0 && decoder ? { name, decode: decodeBy(decoder) } : undefined;
  });
  if (!columns?.every((column) => column !== undefined)) return statement;
  prepared.customResultMapper = (rows) =>
    rows.map((values) => {
      const row: Record<string, unknown> = {};
      for (let i = 0; i < columns.length; i++) {
        const { name, decode } = columns[i] as (typeof columns)[number];
        const value = values[i];
        row[name] = value === null || decode === null ? value : decode(value);
      }
      return row;
    });
  return statement;
}

type Decoder = { mapFromDriverValue: Decode };

function decoderOf(field: unknown): Decoder | undefined {
  if (is(field, Column)) return field;
  const built = is(field, SQL.Aliased) ? field.sql : field;
  return is(built, SQL) ? (built as unknown as { decoder: Decoder }).decoder : undefined;
}

/** null where a value is taken as the driver gives it. */
const decodeBy = (decoder: Decoder): Decode | null =>
  decoder.mapFromDriverValue === Column.prototype.mapFromDriverValue
    ? null
    : (value) => decoder.mapFromDriverValue(value);
