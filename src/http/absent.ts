import { type OpenAPIHono, z } from "@hono/zod-openapi";

/** What a client leaves out of a body, however it spells that. */

/** The fields that are absent where they are null, and those that are absent where they are the empty text, too. */
type Fields = { nulls: Set<string>; ids: Set<string> };

/** Empty ones are refused: a service that forgot whom it acts for must not act as itself, nor a transfer go to anybody. */
const OF_PEOPLE = new Set(["user_id", "agent_id", "sender_id"]);

/** Takes `null` in an optional field for absent, unless the field knows what null means; and so the empty id of a thing. */
export function absentIfNull<T extends z.ZodType>(schema: T) {
  const fields = optionalFieldsOf(schema);
  return z.preprocess((body) => (isObject(body) ? without(body, fields) : body), schema);
}

function optionalFieldsOf(schema: z.ZodType): Fields {
  const optional = shapeOf(schema).filter(([, field]) => field.safeParse(undefined).success);
  const names = optional.map(([name]) => name);
  return {
    nulls: new Set(optional.flatMap(([name, field]) => (field.safeParse(null).success ? [] : [name]))),
    ids: new Set(names.filter((name) => name.endsWith("_id") && !OF_PEOPLE.has(name))),
  };
}

function shapeOf(schema: z.ZodType): [string, z.ZodType][] {
  if (schema instanceof z.ZodObject) return Object.entries(schema.shape);
  if (schema instanceof z.ZodIntersection) {
    return [schema.def.left, schema.def.right].flatMap((part) => (part instanceof z.ZodType ? shapeOf(part) : []));
  }
  return [];
}

const isObject = (value: unknown): value is object =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function without(body: object, { nulls, ids }: Fields): object {
  const isAbsent = ([name, value]: [string, unknown]) =>
    (value === null && nulls.has(name)) || (value === "" && ids.has(name));
  const entries = Object.entries(body);
  return entries.some(isAbsent) ? Object.fromEntries(entries.filter((entry) => !isAbsent(entry))) : body;
}

type Document = ReturnType<OpenAPIHono["getOpenAPI31Document"]>;
type Named = NonNullable<NonNullable<Document["components"]>["schemas"]>;
type Schema = Named[string];

const METHODS = ["post", "put", "patch", "delete"] as const;

/** Says in the document what `absentIfNull` does: each optional field of a body may be null. */
export function sayNulls(document: Document): Document {
  const operations = Object.values(document.paths ?? {}).flatMap((item) => METHODS.map((method) => item[method]));
  for (const operation of operations) {
    const body = operation?.requestBody;
    const schema = body && "content" in body && body.content["application/json"]?.schema;
    if (schema) sayNullsIn(schema, document.components?.schemas ?? {});
  }
  return document;
}

function sayNullsIn(schema: Schema, named: Named): void {
  const found = "$ref" in schema ? named[schema.$ref.split("/").at(-1) ?? ""] : schema;
  if (!found || "$ref" in found) return;
  for (const part of found.allOf ?? []) sayNullsIn(part, named);
  const { properties = {}, required = [] } = found;
  for (const [name, field] of Object.entries(properties)) {
    if (!required.includes(name)) properties[name] = orNull(field);
  }
}

function orNull(field: Schema): Schema {
  if ("$ref" in field) return { anyOf: [field, { type: "null" }] };
  const types = [field.type ?? []].flat();
  if (types.length === 0 || types.includes("null")) return field;
  return { ...field, type: [...types, "null"], ...(field.enum && { enum: [...field.enum, null] }) };
}
