import { Ajv2020, type ErrorObject } from "ajv/dist/2020.js";
import formats from "ajv-formats";

/** As much of JSON Schema as OpenAPI documents use. */
export type Schema = {
  $ref?: string;
  type?: string | string[];
  enum?: unknown[];
  const?: unknown;
  anyOf?: Schema[];
  oneOf?: Schema[];
  allOf?: Schema[];
  properties?: Record<string, Schema>;
  required?: string[];
  additionalProperties?: Schema | boolean;
  items?: Schema;
  format?: string;
  pattern?: string;
  example?: unknown;
  default?: unknown;
  minLength?: number;
  maxLength?: number;
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: number;
  exclusiveMaximum?: number;
  minItems?: number;
  maxItems?: number;
};

export type Parameter = { name: string; in: string; required?: boolean; schema: Schema };
export type Answer = { description: string; content?: Record<string, { schema: Schema }> };

/** One method of one path, as the document has it. */
export type Operation = {
  name: string;
  method: string;
  path: string;
  /** Needs no token. */
  isPublic: boolean;
  parameters: Parameter[];
  body: { required: boolean; schema: Schema; example?: unknown } | undefined;
  responses: Record<string, Answer>;
};

export type Description = {
  operations: Operation[];
  deref(schema: Schema): Schema;
  /** What stands at a path that was asked for. */
  at(method: string, pathname: string): Operation | undefined;
  methodsAt(pathname: string): string[];
  /** Why a body is not what the schema at this place of the document says; nothing if it is. */
  faults(place: readonly string[], value: unknown): string[];
};

const METHODS = ["get", "put", "post", "delete", "patch"];

// biome-ignore lint/suspicious/noExplicitAny: the document is JSON from the wire
export function describeDocument(given: any): Description {
  const document = withResponses(given);
  const operations: Operation[] = Object.entries<Record<string, never>>(document.paths).flatMap(([path, item]) =>
    METHODS.filter((method) => method in item).map((method) => operationOf(document, path, method)),
  );
  // A field that the document does not name is one too many.
  const closed = JSON.parse(JSON.stringify(document), (_, value) =>
    value?.properties && value.type && value.additionalProperties === undefined
      ? { ...value, additionalProperties: false }
      : value,
  );
  const ajv = new Ajv2020({ strict: false, allErrors: true });
  formats(ajv);
  ajv.addSchema(closed, "document");

  const matches = (path: string, asked: string) =>
    new RegExp(`^${path.replace(/[.]/g, "\\.").replace(/\{\w+\}/g, "[^/]+")}$`).test(asked);
  function under(pathname: string): Operation[] {
    const asked = decoded(pathname).replace(/(?<=.)\/$/, "");
    const exact = operations.filter(({ path }) => path === asked);
    return exact.length > 0 ? exact : operations.filter(({ path }) => matches(path, asked));
  }
  return {
    operations,
    deref(schema) {
      const name = /^#\/components\/schemas\/(.+)$/.exec(schema.$ref ?? "")?.[1];
      return name === undefined ? schema : document.components.schemas[name];
    },
    at: (method, pathname) => under(pathname).find((one) => one.method === (method === "HEAD" ? "GET" : method)),
    methodsAt: (pathname) => under(pathname).map(({ method }) => method),
    faults(place, value) {
      const check = ajv.getSchema(`document#/${place.map(escaped).join("/")}`);
      if (!check) throw new Error(`the document has no schema at ${place.join(" ")}`);
      return check(value) ? [] : (check.errors ?? []).map(faultOf);
    },
  };
}

/** The document with every response in its place, under the description that stands beside its reference. */
// biome-ignore lint/suspicious/noExplicitAny: the document is JSON from the wire
function withResponses(document: any) {
  return JSON.parse(JSON.stringify(document), (_, value) => {
    const name = /^#\/components\/responses\/(.+)$/.exec(value?.$ref ?? "")?.[1];
    return name === undefined ? value : { ...document.components.responses[name], ...value, $ref: undefined };
  });
}

// biome-ignore lint/suspicious/noExplicitAny: the document is JSON from the wire
function operationOf(document: any, path: string, method: string): Operation {
  const operation = document.paths[path][method];
  const body = operation.requestBody;
  return {
    name: `${method.toUpperCase()} ${path}`,
    method: method.toUpperCase(),
    path,
    isPublic: (operation.security ?? document.security ?? []).length === 0,
    parameters: operation.parameters ?? [],
    body: body && { required: body.required === true, ...body.content["application/json"] },
    responses: operation.responses,
  };
}

const faultOf = ({ instancePath, message, params }: ErrorObject) =>
  `${instancePath || "/"} ${message} ${JSON.stringify(params)}`;

const escaped = (part: string) => encodeURIComponent(part.replaceAll("~", "~0").replaceAll("/", "~1"));

function decoded(pathname: string): string {
  try {
    return decodeURI(pathname);
  } catch {
    return pathname;
  }
}
