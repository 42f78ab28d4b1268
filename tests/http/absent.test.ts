import { describe, expect, it } from "vitest";
import { databases } from "../support/databases.ts";
import { expectProblem, NOBODY } from "../support/http-expect.ts";
import { declares, useApp } from "../support/http-setup.ts";

const turnOptions = ["model", "stream", "temperature", "max_tokens", "system_prompt", "if_busy"];
const nulls = (names: string[]) => Object.fromEntries(names.map((name) => [name, null]));

/** Every route that takes a body with something optional in it: what it needs, and what may be null. */
const bodies = (id: string, message: string): [string, string, number, object, string[]][] => [
  ["POST", "/chats", 201, {}, ["user_id", "title"]],
  ["POST", "/chat", 200, { chat_id: id, message: "x" }, ["user_id", ...turnOptions]],
  ["POST", "/conversations", 2, {}, ["user_id"]],
  ["POST", `/conversations/${id}/ask-message`, 200, { content: "x" }, ["n", "user_id", ...turnOptions]],
  ["POST", "/api/chat/send", 200, { message: "x" }, ["conversation_id", "user_id", ...turnOptions]],
  ["POST", "/generate-response", 200, { message: "x" }, ["chat_id", "user_id", ...turnOptions]],
  ["POST", "/api/v1/chats", 2, {}, ["user_id"]],
  ["POST", "/api/v1/chat/message", 200, { chat_id: id, content: "x" }, ["user_id", ...turnOptions]],
  ["POST", `/api/v1/messages/${message}/regenerate`, 200, {}, ["user_id", "model", "stream", "system_prompt"]],
  ["POST", "/api/v1/sessions", 201, {}, ["user_id", "agent_id", "metadata", "previous_session_id"]],
  ["PATCH", `/api/v1/sessions/${id}`, 200, {}, ["agent_id", "status", "metadata", "user_id"]],
  [
    "POST",
    `/api/v1/sessions/${id}/messages`,
    201,
    { content: "x", sender_type: "user", sender_id: "anonymous" },
    ["metadata", "extensions", "reply", "user_id", ...turnOptions],
  ],
  ["POST", `/api/v1/sessions/${id}/transfer`, 200, { to: "agent" }, ["agent_id", "reason", "user_id"]],
  ["POST", `/api/v1/sessions/${id}/accept`, 200, {}, ["agent_id", "user_id"]],
  ["POST", `/api/v1/sessions/${id}/end`, 200, {}, ["reason", "user_id"]],
];

type Field = { type?: string | string[]; enum?: unknown[]; anyOf?: { type?: string }[] };
type Schema = { $ref?: string; properties?: Record<string, Field>; required?: string[]; allOf?: Schema[] };
type Operations = Record<string, { requestBody?: { content: Record<string, { schema?: Schema }> } }>;

function fieldsOf(
  schema: Schema,
  named: Record<string, Schema>,
): { name: string; isOptional: boolean; field: Field }[] {
  const { properties = {}, required = [], allOf = [] } = named[schema.$ref?.split("/").at(-1) ?? ""] ?? schema;
  const own = Object.entries(properties).map(([name, field]) => ({
    name,
    isOptional: !required.includes(name),
    field,
  }));
  return [...own, ...allOf.flatMap((part) => fieldsOf(part, named))];
}

const isNullable = ({ type, anyOf = [], enum: values = [null] }: Field): boolean =>
  ([type].flat().includes("null") && values.includes(null)) || anyOf.some((one) => one.type === "null");

describe.each(databases)("what a body leaves out, on $database,", ({ fresh }) => {
  const parts = useApp({}, fresh);
  const call: typeof parts.app.call = (...args) => parts.app.call(...args);

  it("may be null in every optional field of every body", async () => {
    const sent = (await call("POST", "/api/chat/send", { message: "x" })).json;
    const routes = bodies(sent.conversation_id, sent.message_id);
    // The newest answer alone can be made anew, so that goes first.
    for (const [method, path, status, needed, optional] of routes.toSorted(([, a], [, b]) => newestFirst(a, b))) {
      const called = await call(method, path, { ...needed, ...nulls(optional) });
      expect([path, String(called.status)]).toEqual([path, expect.stringMatching(new RegExp(`^${status}`))]);
    }
  });
  const newestFirst = (a: string, b: string) => Number(b.endsWith("regenerate")) - Number(a.endsWith("regenerate"));

  it("is said to be nullable in the document, and nothing else is", async () => {
    const { json } = await call("GET", "/openapi.json");
    const operations = Object.entries<Operations>(json.paths).flatMap(([path, methods]) =>
      path.startsWith("/webhooks/") ? [] : Object.values(methods).map((operation) => ({ path, operation })),
    );
    const fields = operations.flatMap(({ path, operation }) => {
      const schema = operation.requestBody?.content["application/json"]?.schema;
      return schema ? fieldsOf(schema, json.components.schemas).map((field) => ({ path, ...field })) : [];
    });
    expect(fields.length).toBeGreaterThan(50);
    for (const { path, name, isOptional, field } of fields) {
      expect([path, name, isNullable(field)]).toEqual([path, name, isOptional]);
    }
  });

  it("may be an empty text where it is the id of a thing, but not of a person", async () => {
    const first = (await call("POST", "/api/chat/send", { message: "x", conversation_id: "" })).json;
    const second = (await call("POST", "/generate-response", { message: "x", chat_id: "" })).json;
    expect(second.chat_id).not.toBe(first.conversation_id);
    expect((await call("POST", "/api/v1/sessions", { previous_session_id: "" })).status).toBe(201);
    expectProblem(await call("POST", "/api/v1/sessions", { agent_id: "" }), 422, "validation_failed");
    for (const path of ["/chats", "/api/v1/chats", "/api/v1/sessions"]) {
      expectProblem(await call("POST", path, { user_id: "" }), 422, "validation_failed");
    }
  });

  it("is null in what is the caller's own: data keeps its nulls, and in metadata null takes a field out", async () => {
    const { id } = (await call("POST", "/api/v1/sessions", { metadata: { a: 1, b: null } })).json;
    expect((await call("GET", `/api/v1/sessions/${id}`)).json.metadata).toEqual({ a: 1, b: null });
    const patched = await call("PATCH", `/api/v1/sessions/${id}`, { metadata: { a: null, c: 2 } });
    expect(patched.json.metadata).not.toHaveProperty("a");
    const post = { content: "x", sender_type: "user", sender_id: "anonymous" };
    const message = (await call("POST", `/api/v1/sessions/${id}/messages`, post)).json;
    const extend = (body: object) => call("POST", `/api/v1/messages/${message.id}/extensions`, body);
    const note = await extend({ extension_type: "note", data: { x: null }, user_id: null });
    expect(note.json.data).toEqual({ x: null });
    const attachment = { url: "https://files.example/a.png", name: null, mime_type: null, size: null };
    const attached = await extend({ extension_type: "attachment", data: attachment });
    expect(attached.json.data).toEqual({ url: attachment.url });
  });

  it("is no excuse for a field that is needed", async () => {
    for (const [path, body] of [
      ["/chat", { chat_id: null, message: "x" }],
      ["/chat", { chat_id: NOBODY, message: null }],
      ["/api/chat/send", { message: null }],
      ["/api/v1/chat/message", { chat_id: "", content: "x" }],
    ] as const) {
      expectProblem(await call("POST", path, body), 422, "validation_failed");
    }
  });

  declares(parts);
});

describe("a body with many mistakes", () => {
  const parts = useApp();

  it("is told of twenty of them, and of how many there are besides", async () => {
    const { id } = (await parts.app.call("POST", "/api/v1/sessions", {})).json;
    const some = Array.from({ length: 500 }, (_, i) => `"k${i}":1e999`).join(",");
    const refused = await parts.app.call("PATCH", `/api/v1/sessions/${id}`, `{"metadata":{${some}}}`);
    expectProblem(refused, 422, "validation_failed");
    expect(refused.json.errors).toHaveLength(20);
    expect(refused.json.detail).toMatch(/; and 480 more$/);
  });

  it("is not looked at field by field where it is larger than it may be", async () => {
    const { id } = (await parts.app.call("POST", "/api/v1/sessions", {})).json;
    const many = Array.from({ length: 60_000 }, (_, i) => `"k${i}":1e999`).join(",");
    const refused = await parts.app.call("PATCH", `/api/v1/sessions/${id}`, `{"metadata":{${many}}}`);
    expectProblem(refused, 422, "validation_failed");
    expect(refused.json.errors).toEqual([{ path: "metadata", message: "must be at most 16 KiB of JSON" }]);
  });

  declares(parts);
});
