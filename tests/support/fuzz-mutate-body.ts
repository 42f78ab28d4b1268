import fc from "fast-check";
import type { Operation } from "./fuzz-document.ts";
import type { Change } from "./fuzz-mutate.ts";
import { oddBody, oddType, oddValue } from "./fuzz-odd.ts";

type Path = readonly (string | number)[];
type Edit = { kind: "drop" } | { kind: "put"; value: unknown } | { kind: "wrap"; times: number };

const edits: fc.Arbitrary<Edit> = fc.oneof(
  { weight: 1, arbitrary: fc.constant<Edit>({ kind: "drop" }) },
  { weight: 5, arbitrary: oddValue.map((value): Edit => ({ kind: "put", value })) },
  { weight: 1, arbitrary: fc.constantFrom(1, 3, 63, 64, 65, 500).map((times): Edit => ({ kind: "wrap", times })) },
);

/** What may be wrong with the body. A route that takes none is sent one all the same. */
export function bodyMutations({ method, body }: Operation): Change[] {
  if (method === "GET") return [];
  const text: Change = oddBody.map((body) => (draft) => ({
    ...draft,
    body,
    type: draft.type ?? "application/json",
  }));
  const bytes: Change = fc.uint8Array({ minLength: 1, maxLength: 20 }).map((odd) => (draft) => {
    const at = Math.floor(String(draft.body ?? "").length / 2);
    const [before, after] = [String(draft.body ?? "{}").slice(0, at), String(draft.body ?? "{}").slice(at)];
    return { ...draft, body: Buffer.concat([Buffer.from(before), odd, Buffer.from(after)]), type: "application/json" };
  });
  const coded: Change = fc.constantFrom("gzip", "br", "identity", "x", "gzip, gzip").map((coding) => (draft) => ({
    ...draft,
    headers: [...draft.headers, ["content-encoding", coding] as const],
  }));
  if (!body) return [text, bytes, coded];
  const typed: Change = oddType.map((type) => (draft) => ({ ...draft, type }));
  const untyped: Change = fc.constant((draft) => ({ ...draft, type: undefined }));
  const edited: Change = fc.tuple(fc.nat(), edits).map(([at, edit]) => (draft) => ({
    ...draft,
    body: editedAt(String(draft.body ?? "{}"), at, edit),
  }));
  return [text, bytes, coded, typed, untyped, edited, edited, edited, edited];
}

/** The JSON text after an edit of one of its values. */
function editedAt(text: string, at: number, edit: Edit): string {
  const value = parsed(text);
  const places = placesIn(value);
  return JSON.stringify(changed(value, places[at % places.length] ?? [], edit)) ?? "";
}

/** Another change may have come before, and left no JSON. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}

function placesIn(value: unknown, here: Path = []): Path[] {
  if (typeof value !== "object" || value === null || here.length > 10) return [here];
  const entries = Array.isArray(value) ? value.entries() : Object.entries(value);
  return [here, ...[...entries].flatMap(([key, inner]) => placesIn(inner, [...here, key]))];
}

function changed(value: unknown, [key, ...rest]: Path, edit: Edit): unknown {
  if (key === undefined) {
    if (edit.kind === "drop") return undefined;
    return edit.kind === "put"
      ? edit.value
      : JSON.parse(`${"[".repeat(edit.times)}${JSON.stringify(value ?? null)}${"]".repeat(edit.times)}`);
  }
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map((inner, i) => (i === key ? changed(inner, rest, edit) : inner));
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => [name, name === key ? changed(inner, rest, edit) : inner]),
  );
}
