import { ID_NAMES, type Operation, type Rows } from "./isolation-operations.ts";

type Schema = {
  $ref?: string;
  format?: string;
  enum?: string[];
  properties?: Record<string, Schema>;
  required?: string[];
};
type Parameter = { name: string; in: string; required?: boolean; schema: Schema };
type Described = {
  operationId: string;
  parameters?: Parameter[];
  requestBody?: { content: Record<string, { schema: Schema }> };
};
type Document = {
  paths: Record<string, Record<string, Described>>;
  components: { schemas: Record<string, Schema> };
};

type Place = "path" | "query" | "body";

/** What the OpenAPI document says of an operation, as far as it matters whose things are. */
export type Route = {
  method: string;
  path: string;
  /** Where it takes an id of a row; `always` where no request is valid without one. */
  ids: { name: string; in: Place; always: boolean }[];
  /** Where a request may name a user. */
  names: Place[];
  takesKey: boolean;
  /** What a body may say beside, and what must not matter to strangers. */
  manners: Record<string, unknown>[];
};

const USER = "user_id";

/** Every operation of the document by its id. */
export function routesOf(document: unknown): Map<string, Route> {
  const { paths, components } = document as Document;
  const resolve = (schema: Schema = {}): Schema =>
    schema.$ref ? (components.schemas[schema.$ref.replace(/^.*\//, "")] ?? {}) : schema;
  return new Map(
    Object.entries(paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, described]) => [
        described.operationId,
        { method: method.toUpperCase(), path, ...partsOf(described, resolve) },
      ]),
    ),
  );
}

function partsOf({ parameters = [], requestBody }: Described, resolve: (schema?: Schema) => Schema) {
  const { properties = {}, required = [] } = resolve(requestBody?.content["application/json"]?.schema);
  const fields = [
    ...parameters.map(({ name, in: place, required: always = false, schema }) => ({ name, in: place, always, schema })),
    ...Object.entries(properties).map(([name, schema]) => {
      return { name, in: "body", always: required.includes(name), schema: resolve(schema) };
    }),
  ];
  const placed = fields.filter((field) => field.in !== "header") as ((typeof fields)[number] & { in: Place })[];
  return {
    ids: placed.filter(({ name, schema }) => name in ID_NAMES || schema.format === "uuid"),
    names: placed.filter(({ name }) => name === USER).map((field) => field.in),
    takesKey: fields.some(({ name }) => name === "idempotency-key"),
    manners: [
      ...("stream" in properties ? [{ stream: true }] : []),
      ...(properties["if_busy"]?.enum ?? []).map((if_busy) => ({ if_busy })),
    ],
  };
}

/** Its row may be asked for while a turn runs there. */
export const mayBeBusy = ({ manners }: Route, { quiet = false }: Operation): boolean =>
  !quiet && manners.some((manner) => "if_busy" in manner);

export type Asked = { method: string; path: string; body?: Record<string, unknown> };

export type Asking = {
  /** Who asks: the id stands where an operation wants the caller's own. */
  self?: string;
  /** The rows that it is for; none makes a new one, where it may. */
  rows?: Rows;
  /** A user that is named, and where. */
  named?: { user: string; in: Place };
  /** More of the body. */
  more?: Record<string, unknown>;
};

/** A valid request to an operation. */
export function requestTo(route: Route, operation: Operation, asking: Asking): Asked {
  const { self = "somebody", rows, named, more = {} } = asking;
  const values: Record<Place, Record<string, unknown>> = {
    path: { ...operation.path, [USER]: self },
    query: {},
    body: { ...operation.body, ...more },
  };
  if (operation.self) values[route.path.includes(`{${operation.self}}`) ? "path" : "body"][operation.self] = self;
  for (const { name, in: place } of rows ? route.ids : []) {
    const row = { ...ID_NAMES, ...operation.ids }[name];
    if (row) values[place][name] = rows?.[row];
  }
  if (named) values[named.in][USER] = named.user;
  const path = route.path.replace(/\{(\w+)\}/g, (_, name) => String(values.path[name]));
  const query = new URLSearchParams(values.query as Record<string, string>).toString();
  const hasBody = Object.keys(values.body).length > 0;
  return { method: route.method, path: query ? `${path}?${query}` : path, ...(hasBody && { body: values.body }) };
}
