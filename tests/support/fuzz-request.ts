import fc from "fast-check";
import type { Description, Operation, Parameter } from "./fuzz-document.ts";
import { harmless, requestMutations } from "./fuzz-mutate.ts";
import { bodyMutations } from "./fuzz-mutate-body.ts";
import { cursorKind, kindOf, type Pool, token } from "./fuzz-pool.ts";
import { valuesOf } from "./fuzz-schema.ts";

export type Caller = { name: string; headers: Record<string, string>; isRefused: boolean };
export type Pairs = readonly (readonly [name: string, value: string])[];

/** A request as it is to be sent, but for the tokens in it. */
export type Draft = {
  operation: Operation;
  caller: Caller;
  method: string;
  /** Still encoded to be: `["chats", "⟨conversation:3⟩"]`. */
  path: readonly string[];
  slash: boolean;
  query: Pairs;
  headers: Pairs;
  body: string | Uint8Array | undefined;
  type: string | undefined;
  /** Everything is as the document wants it. */
  isValid: boolean;
  /** Sent again, as by a client that did not hear the answer. */
  isTwice: boolean;
};

export type Sent = { method: string; path: string; headers: Record<string, string>; body: Uint8Array | undefined };

/** Any request to any operation of the document: half of them as it should be, half of them bent somewhere. */
export function requests(description: Description, callers: readonly [number, Caller][]): fc.Arbitrary<Draft> {
  const whoever = fc.oneof(...callers.map(([weight, caller]) => ({ weight, arbitrary: fc.constant(caller) })));
  const of = (operation: Operation) =>
    bent(operation, whole(description, operation, whoever)).map((draft) =>
      Object.defineProperty(draft, fc.toStringMethod, { value: () => `a request to ${operation.name}` }),
    );
  return fc.oneof(
    ...description.operations.map((operation) => ({
      weight: operation.parameters.length + (operation.body ? 2 : 1),
      arbitrary: of(operation),
    })),
  );
}

function whole(description: Description, operation: Operation, whoever: fc.Arbitrary<Caller>): fc.Arbitrary<Draft> {
  const given = (place: string) =>
    fc.tuple(...operation.parameters.filter((one) => one.in === place).map((one) => pairOf(operation, one)));
  const value = ({ name, schema }: Parameter) => valuesOf(description, { name, schema });
  function pairOf(of: Operation, one: Parameter): fc.Arbitrary<readonly [string, string] | null> {
    const values = one.name === "after" ? fc.nat({ max: 999 }).map((pick) => token(cursorKind(of), pick)) : value(one);
    const pair = values.map((some) => [one.name, String(some)] as const);
    return one.required ? pair : fc.option(pair, { freq: 2 });
  }
  const body = operation.body
    ? valuesOf(description, { name: "", schema: operation.body.schema }).map((some) => JSON.stringify(some))
    : fc.constant(undefined);
  const streams = "text/event-stream" in (operation.responses["200"]?.content ?? {});
  const accept = fc.constantFrom(...(streams ? ["text/event-stream", "*/*", "*/*"] : ["*/*", "application/json"]));
  return fc
    .record({
      caller: whoever,
      path: segments(description, operation),
      query: given("query"),
      headers: given("header"),
      body,
      accept,
    })
    .map(({ caller, path, query, headers, body, accept }) => ({
      operation,
      caller,
      method: operation.method,
      path,
      slash: false,
      query: query.filter((pair) => pair !== null),
      headers: [["accept", accept] as const, ...headers.filter((pair) => pair !== null)],
      body,
      type: body === undefined ? undefined : "application/json",
      isValid: true,
      isTwice: false,
    }));
}

function segments(description: Description, { path, parameters }: Operation): fc.Arbitrary<string[]> {
  const parts = path.split("/").slice(1);
  return fc.tuple(
    ...parts.map((part, i) => {
      const name = /^\{(\w+)\}$/.exec(part)?.[1];
      if (name === undefined) return fc.constant(part);
      const schema = parameters.find((one) => one.in === "path" && one.name === name)?.schema ?? { type: "string" };
      return valuesOf(description, { name: kindOf(name, parts[i - 1]), schema }).map(String);
    }),
  );
}

function bent(operation: Operation, drafts: fc.Arbitrary<Draft>): fc.Arbitrary<Draft> {
  const harm = fc.oneof(...requestMutations(operation), ...bodyMutations(operation));
  const asIs = drafts;
  const still = fc.tuple(drafts, harmless(operation)).map(([draft, change]) => change(draft));
  const harmed = fc.tuple(drafts, harm).map(([draft, change]) => ({ ...change(draft), isValid: false }));
  const twice = fc.tuple(drafts, harm, harm).map(([draft, one, two]) => ({ ...two(one(draft)), isValid: false }));
  return fc.oneof(
    { weight: 4, arbitrary: asIs },
    { weight: 2, arbitrary: still },
    { weight: 4, arbitrary: harmed },
    { weight: 1, arbitrary: twice },
  );
}

/** The request with what its tokens stand for. */
export function sentOf(draft: Draft, pool: Pool): Sent {
  const known = (text: string) => pool.resolve(draft.caller.name, text);
  const query = draft.query.flatMap(([name, value]) => {
    const text = known(value);
    return text === undefined ? [] : [`${encode(name)}=${encode(text)}`];
  });
  const path = `/${draft.path.map((part) => encode(known(part) ?? part)).join("/")}${draft.slash && draft.path.at(-1) !== "" ? "/" : ""}`;
  const headers: Record<string, string> = { ...draft.caller.headers };
  if (draft.type !== undefined) headers["content-type"] = draft.type;
  for (const [name, value] of draft.headers) headers[name] = known(value) ?? value;
  const bytes = typeof draft.body === "string" ? Buffer.from(known(draft.body) ?? draft.body) : draft.body;
  const body = draft.method === "GET" || draft.method === "HEAD" ? undefined : bytes; // fetch sends none with these
  if (body) headers["content-length"] = String(body.length); // as clients do
  return { method: draft.method, path: query.length > 0 ? `${path}?${query.join("&")}` : path, headers, body };
}

/** Where the request goes in the end: an id of `..` leads elsewhere. */
export const pathOf = ({ path }: Sent): string => new URL(`http://localhost${path}`).pathname;

/** What begins with a percent sign is sent as it stands: broken escapes are worth trying, too. */
const encode = (text: string): string => (text.startsWith("%") ? text : encodeURIComponent(text.toWellFormed()));

/** The request as a command line. */
export function curlOf({ method, path, headers, body }: Sent): string {
  const options = Object.entries(headers)
    .filter(([name]) => name !== "content-length")
    .map(([name, value]) => `-H ${quoted(Buffer.from(value === "" ? `${name};` : `${name}: ${value}`, "latin1"))}`);
  if (body) options.push(`--data-binary ${quoted(body)}`);
  const verb = method === "HEAD" ? "--head" : `-X ${method}`;
  return [`curl -i --path-as-is ${verb}`, quoted(Buffer.from(`http://localhost:8000${path}`)), ...options].join(" ");
}

/** For a shell, byte for byte. */
function quoted(bytes: Uint8Array): string {
  const text = Buffer.from(bytes).toString("latin1");
  if (/^[\x20-\x7e]*$/.test(text) && !text.includes("'")) return `'${text}'`;
  const inHex = (one: string) => `\\x${one.charCodeAt(0).toString(16).padStart(2, "0")}`;
  return `$'${text.replace(/[^\x20-\x7e]|['\\]/g, inHex)}'`;
}
