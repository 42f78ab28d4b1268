import { expect } from "vitest";
import type { Called } from "./app.ts";
import type { Answer, Description, Operation } from "./fuzz-document.ts";
import { type Draft, pathOf, type Sent } from "./fuzz-request.ts";
import { expectProblem } from "./http-expect.ts";
import { framesOf } from "./http-stream.ts";

/** What is refused although the document allows it, each for a reason that it tells in words. */
const EXCEPTIONS: { what: string; path: string; reason: string }[] = [
  { what: "POST /conversations/{conversation_id}/ask-message", path: "n", reason: "several answers are not streamed" },
  { what: "POST /api/v1/sessions/{session_id}/messages", path: "reply", reason: "only what a user says is answered" },
  { what: "GET /api/v1/usage", path: "from", reason: "it lies before to" },
  { what: "POST /api/v1/messages/{message_id}/extensions", path: "", reason: "one message holds so many, and no more" },
  { what: "PATCH /api/v1/sessions/{session_id}", path: "agent_id", reason: "goes with no status, or with transferred" },
];

/** What may be answered where the document has no operation: these come of the path or the method alone. */
const ELSEWHERE = [401, 403, 404, 405, 422];
/** Bodies are held to their limits before it is known where they go. */
const OF_BODIES = [400, 413, 415];

/** Throws where an answer is not what the document promises. */
export function judge(description: Description, draft: Draft, { sent, called }: { sent: Sent; called: Called }): void {
  const id = sent.headers["x-request-id"] ?? "";
  const echoed = /^[\w=-]{1,255}$/.test(id) ? new RegExp(`^${id}$`) : /^[\w=-]+$/;
  expect(called.headers.get("x-request-id"), "X-Request-Id").toMatch(echoed);
  if (called.status === 401) expect(called.headers.get("www-authenticate")).toBe("Bearer");
  expect(called.status, `no failure of ours: ${called.text}`).toBeLessThan(500);
  const operation = description.at(sent.method, pathOf(sent));
  if (!operation) {
    judgeElsewhere(description.methodsAt(pathOf(sent)), sent, called);
    return;
  }
  const answer = operation.responses[String(called.status)];
  expect(Object.keys(operation.responses), "a documented status").toContain(String(called.status));
  if (answer) judgeBody(description, { operation, answer, sent, called });
  if (draft.isValid) judgeValid(draft, operation, called);
}

type Judged = { operation: Operation; answer: Answer; sent: Sent; called: Called };

function judgeBody(description: Description, { operation, answer, sent, called }: Judged): void {
  const types = Object.keys(answer.content ?? {});
  const type = called.headers.get("content-type")?.split(";")[0] ?? "";
  if (sent.method === "HEAD" || types.length === 0) {
    expect(called.text, "no body").toBe("");
    if (types.length === 0) return;
  }
  expect(types, "a documented content type").toContain(type);
  if (sent.method === "HEAD") return;
  const place = [
    "paths",
    operation.path,
    operation.method.toLowerCase(),
    "responses",
    String(called.status),
    "content",
  ];
  const value = /[/+]json$/.test(type) ? called.json : called.text;
  expect(description.faults([...place, type, "schema"], value), `the documented schema: ${called.text}`).toEqual([]);
  if (type === "application/problem+json") {
    expectProblem(called, called.status, called.json.code);
    expect(answer.description, "a documented code").toContain(`\`${called.json.code}\``);
  }
  if (type === "application/x-ndjson") judgeLines(called.text);
  if (type !== "text/event-stream") return;
  if (isEndless(sent.path)) judgeEvents(description, called.text);
  else judgeStream(description, sent, called.text);
}

/** Whether what is asked for is a stream that never ends of itself. */
export const isEndless = (path: string): boolean => /\/events\/?(\?|$)/.test(path);

function judgeLines(text: string): void {
  const lines = text.split("\n");
  expect(lines.pop(), "whole lines").toBe("");
  const types: string[] = lines.map((line) => JSON.parse(line).type);
  expect(types.indexOf("end"), "the end is last").toBe(types.length - 1);
}

const STATES: Record<string, string> = { session: "SessionsSession", message: "SessionsMessage" };

/** What happens in sessions, as far as it was heard. */
function judgeEvents(description: Description, text: string): void {
  expect(text, "whole frames").toMatch(/^(:\n\n)?$|\n\n$/);
  let last = -1;
  for (const { id, event, data } of framesOf(text)) {
    expect(event).toMatch(/^(session|message|message\.delta|typing)$/);
    const schema = STATES[event];
    if (schema) expect(description.faults(["components", "schemas", schema], data), schema).toEqual([]);
    if (id === undefined) continue;
    expect(Number(id), "ids go up").toBeGreaterThan(last);
    expect(data.rev, "the id is the row's revision").toBe(Number(id));
    last = Number(id);
  }
}

const EVENT = /^(turn\.(started|status|completed|failed|cancelled)|message\.(delta|restart))$/;

function judgeStream(description: Description, { headers }: Sent, text: string): void {
  expect(text, "whole frames").toMatch(/\n\n$/);
  const frames = framesOf(text);
  const ends = frames.filter(({ event }) => /^turn\.(completed|failed|cancelled)$/.test(event));
  for (const { event } of frames) expect(event).toMatch(EVENT);
  if (!headers["last-event-id"]) expect(frames[0]?.event).toBe("turn.started");
  expect(ends, "one end").toHaveLength(1);
  expect(frames.at(-1), "the end is last").toBe(ends[0]);
  expect(description.faults(["components", "schemas", "Turn"], ends[0]?.data), "the turn").toEqual([]);
}

/** For who has a secret alone, which nobody has here. */
const SIGNED = ["POST /webhooks/stream"];

function judgeValid(draft: Draft, operation: Operation, called: Called): void {
  const isRefused = (draft.caller.isRefused && !operation.isPublic) || SIGNED.includes(operation.name);
  expect(called.status === 401, "a token is asked for").toBe(isRefused);
  expect([400, 413, 415], "a valid request").not.toContain(called.status);
  if (called.json?.code !== "validation_failed") return;
  const excused = EXCEPTIONS.filter(({ what }) => what === operation.name).map(({ path }) => path);
  const refused: { path: string }[] = called.json.errors ?? [];
  expect(
    refused.filter(({ path }) => !excused.includes(path)),
    "a valid request",
  ).toEqual([]);
}

function judgeElsewhere(methods: readonly string[], { method, body }: Sent, called: Called): void {
  if (method === "OPTIONS" && called.status === 204) {
    expect(called.headers.get("allow"), "Allow").toContain("OPTIONS");
    return;
  }
  expect([...ELSEWHERE, ...(body ? OF_BODIES : [])], "a refusal").toContain(called.status);
  if (method === "HEAD") expect(called.text, "no body").toBe("");
  else expectProblem(called, called.status, called.json?.code);
  if (called.status === 404) expect(methods, "no such path").toEqual([]);
  if (called.status !== 405) return;
  const allowed = called.headers.get("allow")?.split(", ");
  expect(allowed, "Allow").toEqual(expect.arrayContaining([...methods, "OPTIONS"]));
}
