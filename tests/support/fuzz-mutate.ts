import { randomUUID } from "node:crypto";
import fc from "fast-check";
import type { Operation } from "./fuzz-document.ts";
import { oddHeader, oddText } from "./fuzz-odd.ts";
import type { Draft, Pairs } from "./fuzz-request.ts";

/** What is done to a request. */
export type Change = fc.Arbitrary<(draft: Draft) => Draft>;

/** What a service has to bear without a word. */
export function harmless(operation: Operation): Change {
  const header = (name: string, value: string) => (draft: Draft) => ({
    ...draft,
    headers: [...draft.headers, [name, value] as const],
  });
  const changes = [
    (draft: Draft) => ({ ...draft, slash: true }),
    (draft: Draft) => ({
      ...draft,
      query: [...draft.query, ["utm_source", "x"] as const, ["__proto__", "y"] as const],
    }),
    header("x-request-id", "from-the-client"),
    header("x-request-id", "no good id: é"),
    header("accept-language", "*"),
    header("cookie", "a=b; c"),
    header("origin", "https://elsewhere.example"),
  ];
  const key = operation.parameters.find(({ name }) => name.toLowerCase() === "idempotency-key")?.name;
  if (key !== undefined) changes.push(keyed(key), keyed(key));
  if (operation.body) {
    changes.push(
      (draft) => ({ ...draft, type: "application/json; charset=utf-8" }),
      (draft) => ({ ...draft, type: "APPLICATION/JSON" }),
      withField('"__proto__":{"admin":true}'),
      withField('"constructor":{"prototype":{"admin":true}}'),
      withField('"unknown":[{"deep":[1,2,{}]}]'),
    );
    if (!operation.body.required) changes.push((draft) => ({ ...draft, body: undefined, type: undefined }));
  }
  return fc.constantFrom(...changes);
}

/** One of a kind, or the request would be taken for an earlier one. */
const keyed = (name: string) => (draft: Draft) => ({
  ...draft,
  headers: [...draft.headers, [name, randomUUID()] as const],
  isTwice: true,
});

const withField = (field: string) => (draft: Draft) => ({
  ...draft,
  body:
    typeof draft.body === "string" ? draft.body.replace(/^\{(\})?/, (_, end) => `{${field}${end ?? ","}`) : draft.body,
});

/** What may be wrong beside the body. */
export function requestMutations(operation: Operation): Change[] {
  const ofKind = (kind: string) => operation.parameters.filter((one) => one.in === kind).map(({ name }) => name);
  const changes: Change[] = [
    fc
      .constantFrom("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "PROPFIND", "QUERY")
      .map((method) => (draft) => ({ ...draft, method })),
    fc
      .tuple(
        fc.constantFrom(
          "authorization",
          "x-user-id",
          "host",
          "x-request-id",
          "accept",
          "if-none-match",
          "range",
          "x-forwarded-host",
          "content-encoding",
        ),
        oddHeader,
      )
      .map(([name, value]) => (draft) => ({ ...draft, headers: [...draft.headers, [name, value] as const] })),
  ];
  if (ofKind("path").length > 0)
    changes.push(oddText.map((value) => (draft) => ({ ...draft, path: withId(draft, value) })));
  if (ofKind("header").length > 0) {
    changes.push(
      fc.tuple(fc.constantFrom(...ofKind("header")), oddHeader).map(([name, value]) => (draft) => ({
        ...draft,
        headers: [...draft.headers, [name, value] as const],
      })),
    );
  }
  if (ofKind("query").length === 0) return changes;
  const named = fc.tuple(fc.constantFrom(...ofKind("query")), oddText);
  const others = (query: Pairs, name: string) => query.filter(([one]) => one !== name);
  const replaced: Change = named.map(([name, value]) => (draft) => ({
    ...draft,
    query: [...others(draft.query, name), [name, value]],
  }));
  return [
    ...changes,
    ...[replaced, replaced, replaced, replaced], // what comes closest to being taken is tried most
    named.map(([name, value]) => (draft) => ({ ...draft, query: [...draft.query, [name, value], [name, value]] })),
    named.map(([name, value]) => (draft) => ({
      ...draft,
      query: [...draft.query, [`${name}[]`, value], [`${name}[$ne]`, ""]],
    })),
  ];
}

/** Another id in the path. */
function withId({ operation, path }: Draft, value: string): string[] {
  const template = operation.path.split("/").slice(1);
  return path.map((part, i) => (template[i]?.startsWith("{") ? value : part));
}
