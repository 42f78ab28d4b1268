import fc from "fast-check";
import type { Description, Schema } from "./fuzz-document.ts";
import { kindOf, token } from "./fuzz-pool.ts";

/** A schema, under the name that its value has where it is sent. */
export type Named = { name: string; schema: Schema; depth?: number };

/**
 * What schemas cannot say: these fields take what the service itself gave out. Everything else that a schema allows is
 * to be accepted.
 */
const GIVEN: Record<string, fc.Arbitrary<unknown>> = {
  model: fc.constantFrom("fast", "balanced", "smart", "echo/echo"),
};

const DEEPEST = 5;

/** Values that a schema of the document allows, often ones that stand for something that is really there. */
export function valuesOf(description: Description, { name, schema, depth = 0 }: Named): fc.Arbitrary<unknown> {
  const is = description.deref(schema);
  const inner = (one: Schema, as = name) => valuesOf(description, { name: as, schema: one, depth: depth + 1 });
  if (depth > DEEPEST) return fc.constant(null);
  if (is.$ref !== undefined) return inner(is);
  if (is.const !== undefined) return fc.constant(is.const);
  if (is.enum) return fc.constantFrom(...is.enum);
  const either = is.anyOf ?? is.oneOf;
  if (either) return fc.oneof(...either.map((one) => inner(one)));
  if (is.allOf) return fc.tuple(...is.allOf.map((one) => inner(one))).map((parts) => Object.assign({}, ...parts));
  if (Array.isArray(is.type)) {
    return fc.oneof(...is.type.map((type) => valuesOf(description, { name, schema: { ...is, type }, depth })));
  }
  if (is.type === "array") return fc.array(inner(is.items ?? {}), lengths(is.minItems, is.maxItems, 5));
  if (is.type === "object") return objects(is, inner);
  return GIVEN[name] ?? scalars(name, is);
}

function scalars(name: string, is: Schema): fc.Arbitrary<unknown> {
  switch (is.type) {
    case "string":
      return strings(name, is);
    case "integer":
      return fc.integer({ min: lowest(is, 1) ?? -(2 ** 31), max: highest(is, 1) ?? 2 ** 31 - 1 });
    case "number":
      return fc.double({ min: lowest(is, 1e-9) ?? -1e9, max: highest(is, 1e-9) ?? 1e9, noNaN: true });
    case "boolean":
      return fc.boolean();
    case "null":
      return fc.constant(null);
    default:
      return fc.jsonValue({ maxDepth: 2 }).filter(isExact);
  }
}

/** Whole numbers beyond 2^53 are refused, which no schema says of a value of any type. */
const isExact = (value: unknown): boolean =>
  typeof value === "number"
    ? !Number.isInteger(value) || Number.isSafeInteger(value)
    : typeof value !== "object" || value === null || Object.values(value).every(isExact);

const lowest = ({ minimum, exclusiveMinimum }: Schema, step: number) =>
  exclusiveMinimum === undefined ? minimum : exclusiveMinimum + step;
const highest = ({ maximum, exclusiveMaximum }: Schema, step: number) =>
  exclusiveMaximum === undefined ? maximum : exclusiveMaximum - step;

const lengths = (min: number | undefined, max: number | undefined, most: number) => ({
  minLength: min ?? 0,
  maxLength: Math.max(min ?? 0, Math.min(max ?? most, most)),
});

function objects(is: Schema, inner: (schema: Schema, name: string) => fc.Arbitrary<unknown>): fc.Arbitrary<object> {
  const { properties = {}, required = [], additionalProperties: others } = is;
  const named = fc.record(
    Object.fromEntries(Object.entries(properties).map(([key, schema]) => [key, inner(schema, key)])),
    { requiredKeys: required, noNullPrototype: true },
  );
  if (others === false || (others === undefined && Object.keys(properties).length > 0)) return named;
  const rest = fc.dictionary(text(1, 20), inner(typeof others === "object" ? others : {}, ""), { maxKeys: 3 });
  return fc.tuple(rest, named).map(([more, own]) => ({ ...more, ...own }));
}

const FORMATS: Record<string, fc.Arbitrary<string>> = {
  date: instants().map((time) => time.slice(0, 10)),
  "date-time": fc
    .tuple(instants(), fc.constantFrom("Z", "Z", "Z", "+00:00", "+14:00", "-11:30", "+23:59", "-23:59"))
    .map(([time, zone]) => time.replace("Z", zone)),
  email: fc.emailAddress(),
  uri: fc.webUrl(),
  url: fc.webUrl(),
};

function instants(): fc.Arbitrary<string> {
  const far = fc.date({
    min: new Date("0000-01-01T00:00:00Z"),
    max: new Date("9999-12-31T23:59:59Z"),
    noInvalidDate: true,
  });
  const near = fc.date({ min: new Date("2020-01-01"), max: new Date("2035-01-01"), noInvalidDate: true });
  const edges = fc.constantFrom(new Date("0000-01-01T00:00:00Z"), new Date("9999-12-31T23:59:59.999Z"));
  return fc.oneof({ weight: 4, arbitrary: near }, far, edges).map((date) => date.toISOString());
}

/** What stands for a user in most requests: one who is named at random has nothing. */
const USERS: Record<string, string> = { user_id: "alice" };

function strings(name: string, is: Schema): fc.Arbitrary<string> {
  const known = fc.nat({ max: 999 }).map((pick) => token(kindOf(name), pick));
  if (is.format === "uuid") return fc.oneof({ weight: 12, arbitrary: known }, { weight: 1, arbitrary: fc.uuid() });
  if (kindOf(name) === "conversation") {
    const free = text(is.minLength ?? 0, is.maxLength ?? 255); // the client's own
    return fc.oneof({ weight: 12, arbitrary: known }, { weight: 2, arbitrary: free });
  }
  const formatted = FORMATS[is.format ?? ""];
  if (formatted) return formatted;
  const { minLength: min = 0, maxLength: max = 1000 } = is;
  const free = is.pattern === undefined ? text(min, max) : matching(new RegExp(is.pattern, "u"), min, max);
  const example = is.example ?? USERS[name];
  if (typeof example !== "string") return free;
  const weight = name.endsWith("_id") ? 6 : 1;
  return fc.oneof({ weight, arbitrary: fc.constant(example) }, { weight: 1, arbitrary: free });
}

function matching(pattern: RegExp, min: number, max: number): fc.Arbitrary<string> {
  const isWhole = pattern.source.startsWith("^") && pattern.source.endsWith("$");
  const made = isWhole ? fc.stringMatching(pattern, { size: "small" }) : text(min, max);
  return made.filter((one) => pattern.test(one) && one.length >= min && one.length <= max);
}

/** Text that a service has to take wherever it takes text: of all scripts, but without U+0000. */
export function text(min: number, max: number): fc.Arbitrary<string> {
  const size = { minLength: min, maxLength: Math.max(min, Math.min(max, 30)) };
  return fc
    .oneof(
      { weight: 8, arbitrary: fc.string({ ...size, unit: "grapheme" }) },
      { weight: 4, arbitrary: fc.string({ ...size, unit: "binary" }) },
      { weight: 8, arbitrary: fc.constantFrom("What did I say about Lisbon?", "hello", "My name is Ada.", "  ’; -- ") },
      { weight: 1, arbitrary: fc.constant("é".repeat(Math.min(max, 4096))) },
    )
    .filter((one) => !one.includes("\0") && one.length >= min && one.length <= max);
}
