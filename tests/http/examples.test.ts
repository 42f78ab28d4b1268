import { beforeAll, describe, expect, it } from "vitest";
import { EXAMPLES, PASTE_ID } from "../../src/docs/examples.ts";
import { type Description, describeDocument, type Operation, type Parameter } from "../support/fuzz-document.ts";
import { PATIENT } from "../support/http-expect.ts";
import { useApp } from "../support/http-setup.ts";

/** Ids that somebody pastes out of earlier answers, by the names of the fields that ask for them. */
type Ids = Record<string, string>;

/** What an operation needs to be there before it can succeed, beside a session with a question, its answer and an attachment. */
const BEFORE: Record<string, "a session that waits" | "a turn that runs" | undefined> = {
  acceptSession: "a session that waits",
  cancelTurn: "a turn that runs",
};
/** Operations that are about an answer, where others are about what a user said. */
const OF_ANSWERS = ["regenerateAnswer", "listAlternatives"];

/** What Swagger UI 5 puts into a field before anybody has typed; nothing for an empty one. */
const prefilled = ({ schema, ...parameter }: Parameter & { example?: unknown }): string | undefined => {
  const value = parameter.example ?? schema.example ?? schema.default;
  return value === undefined ? undefined : String(value);
};

describe("Execute in the documentation, pressed on a fresh open service", () => {
  const parts = useApp({ LAST_FIRST_TOKEN_TIMEOUT_MS: "300000" });
  const call: typeof parts.app.call = (...args) => parts.app.call(...args);
  let description: Description;
  let operations: Map<string, Operation>;
  beforeAll(async () => {
    const document = (await call("GET", "/openapi.json")).json;
    description = describeDocument(document);
    const idOf = ({ path, method }: Operation) => document.paths[path][method.toLowerCase()].operationId as string;
    operations = new Map(description.operations.map((one) => [idOf(one), one]));
  });

  async function idsFor(operationId: string): Promise<Ids> {
    const post = async (path: string, body: object) => (await call("POST", path, body)).json;
    const { id } = await post("/api/v1/sessions", {});
    const { message_id, turn_id } = await post("/chat", { chat_id: id, message: "Hello" });
    const { user_message_id } = (await call("GET", `/api/v1/turns/${turn_id}`)).json;
    const note = { extension_type: "note", data: {} };
    const extension = await post(`/api/v1/messages/${user_message_id}/extensions`, note);
    const ofConversation = { chat_id: id, conversation_id: id, session_id: id };
    const ids = { ...ofConversation, user_id: "alice", turn_id, message_id: user_message_id, id: extension.id };
    if (BEFORE[operationId] === "a session that waits") await post(`/api/v1/sessions/${id}/transfer`, { to: "agent" });
    if (BEFORE[operationId] === "a turn that runs") {
      parts.provider.behave(() => ({ headersAfter: Number.POSITIVE_INFINITY }));
      const said = { sender_type: "user", sender_id: "anonymous", content: "Wait", reply: true };
      const { turn } = await post(`/api/v1/sessions/${id}/messages`, said);
      return { ...ids, turn_id: turn.id };
    }
    if (operationId === "getSendConversation") return { ...ids, id };
    return OF_ANSWERS.includes(operationId) ? { ...ids, message_id } : ids;
  }

  /** The request that the page sends once the ids are pasted. */
  async function pressed(operationId: string, { method, path, parameters, body }: Operation) {
    const ids = await idsFor(operationId);
    const values = parameters.map((one) => ({
      ...one,
      value: prefilled(one) ?? (one.required ? ids[one.name] : undefined),
    }));
    const missing = values.filter(({ required, value }) => required && value === undefined);
    expect(missing, "can only be filled in by who knows more than an id").toEqual([]);
    const of = (place: string) => values.filter((one) => one.in === place && one.value !== undefined);
    const asked = of("path").reduce(
      (so, { name, value = "" }) => so.replace(`{${name}}`, encodeURIComponent(value)),
      path,
    );
    const query = new URLSearchParams(of("query").map(({ name, value = "" }) => [name, value] as [string, string]));
    const headers = Object.fromEntries(of("header").map(({ name, value = "" }) => [name, value]));
    const example = body && JSON.stringify(body.example, (name, value) => (value === PASTE_ID ? ids[name] : value), 2);
    const init = { method, headers: { ...headers, ...(example && { "content-type": "application/json" }) } };
    return { path: `${asked}?${query}`, init: { ...init, ...(example && { body: example }) } };
  }

  it("succeeds with every operation, once ids are pasted where it asks for them", { timeout: 60_000 }, async () => {
    expect(operations.size).toBeGreaterThan(50);
    for (const [operationId, operation] of operations) {
      const { path, init } = await pressed(operationId, operation);
      const response = await parts.app.parley.app.request(path, init);
      expect(response.status, `${operationId}: ${JSON.stringify(init)}`).toBeLessThan(300);
      await response.body?.cancel();
      parts.provider.behave(() => ({}));
    }
    await expect.poll(() => parts.provider.busy(), PATIENT).toBe(0);
  });

  it("sends no id that nobody has, and names no user but where a path asks for one", () => {
    const filled = [...operations].flatMap(([operationId, { parameters }]) =>
      parameters
        .filter((one) => prefilled(one) !== undefined)
        .map(({ name, in: place }) => `${operationId} ${place} ${name}`),
    );
    expect(filled.filter((one) => /_id$| id$/.test(one)).sort()).toEqual([
      "listUserSessions path user_id",
      "watchAgent path agent_id",
    ]);
  });

  it("shows a body for every operation that takes one, and no more than succeeds", () => {
    const taking = [...operations].filter(([, { body }]) => body).map(([operationId]) => operationId);
    const withStream = ["createStreamToken", "createStreamTokenAtRoot", "receiveStreamWebhook"];
    expect(Object.keys(EXAMPLES).sort()).toEqual([...taking, ...withStream].sort());
  });
});

describe("an error in the OpenAPI document", () => {
  const parts = useApp();

  it("is described once, and every operation refers to it", async () => {
    const { text, json } = await parts.app.call("GET", "/openapi.json");
    expect(text.split('"application/problem+json"')).toHaveLength(2);
    expect(json.paths["/chats/{chat_id}"].get.responses[404]).toEqual({
      $ref: "#/components/responses/Problem",
      description: "`not_found`",
    });
  });
});
