import { existsSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { parseDatabaseUrl } from "../../src/db/index.ts";
import { startApp, type TestApp } from "../support/app.ts";
import { databases } from "../support/databases.ts";
import { counts, fill, orphans, schemas, select } from "../support/first-schema.ts";
import { expectProblem, PATIENT, time } from "../support/http-expect.ts";
import { runtimes } from "../support/models-dispatch.ts";
import { startService } from "../support/service.ts";

const id = (name: string) => `00000000-0000-7000-8000-0000000000${name}`;
const contents = (messages: { content: string }[]) => messages.map(({ content }) => content);
const cases = databases.flatMap((one) => schemas.map((schema) => ({ ...one, schema })));

describe.each(cases)("today's Parley over a $database $schema", ({ fresh, schema }) => {
  let url: string;
  let app: TestApp;
  const get = async (path: string, user = "ann") => {
    const { status, json } = await app.call("GET", path, undefined, { "x-user-id": user });
    expect(status, path).toBe(200);
    return json;
  };

  beforeAll(async () => {
    url = await fresh();
    await fill(url, schema);
    app = await startApp({ DATABASE_URL: url });
  });
  afterAll(() => app.stop());

  it("lists every conversation as it was", async () => {
    const { chats, total } = await get("/chats?user_id=ann");
    expect(total).toBe(2);
    expect(chats.map((chat: { id: string }) => chat.id)).toEqual([id("c2"), id("c1")]);
    expect(chats[1]).toMatchObject({ title: "Boats", message_count: 4 });
    expect(await get(`/api/v1/sessions/${id("c1")}`)).toMatchObject({ metadata: { topic: "boats" }, rev: 10 });
    const session = await get(`/api/v1/sessions/${id("c3")}`, "bob");
    expect(session).toMatchObject({
      ...{ user_id: "bob", agent_id: "grace", status: "ended", control: "agent", is_live: true, title: "A refund" },
      ...{ metadata: { order: { n: 7 } }, previous_session_id: id("c4"), ended_at: "2026-11-20T14:03:20.000Z" },
    });
  });

  it("shows every message, those that lists leave out as well", async () => {
    expect(contents(await get(`/chats/${id("c1")}/messages`))).toEqual([
      ...["What is a ketch?", "A boat with two masts: ⛵", "And a yawl?", "Two, one behind the rudder."],
    ]);
    const edited = await get(`/api/v1/messages/${id("a1")}`);
    expect(edited).toMatchObject({ metadata: { client: "web" }, sender_id: "ann", edited_at: time });
    expect(await get(`/api/v1/messages/${id("a5")}`)).toMatchObject({ status: "failed", content: "" });
    const { alternatives } = await get(`/api/v1/messages/${id("a9")}/alternatives`);
    expect(alternatives).toMatchObject([
      { id: id("a7"), content: "Two masts, too.", model: "groq/openai/gpt-oss-20b", superseded: true },
    ]);
    expect(contents(await get(`/api/v1/sessions/${id("c3")}/messages`, "bob"))).toEqual([
      ...["Where is my money?", "grace has come.", "It is on its way."],
    ]);
    expect(await get(`/api/v1/messages/${id("e3")}`, "bob")).toMatchObject({ content: "No idea.", sender_id: "grace" });
  });

  it("shows every extension", async () => {
    expect((await get(`/api/v1/messages/${id("a2")}`)).extensions).toMatchObject([
      { id: id("f1"), extension_type: "reaction", author_id: "ann", data: { emoji: "👍" } },
    ]);
    expect((await get(`/api/v1/messages/${id("e4")}`, "bob")).extensions).toMatchObject([
      { id: id("f2"), extension_type: "attachment", author_id: null, data: { url: "https://example.com/slip.pdf" } },
    ]);
  });

  it("shows every turn with what it took", async () => {
    expect(await get(`/api/v1/turns/${id("d1")}`)).toMatchObject({
      ...{ status: "completed", target: "openai/gpt-6-sol", finish_reason: "stop", cost_usd: 0.00125 },
      usage: { input_tokens: 11, output_tokens: 7, estimated: false },
      attempts: [{ target: "openai/gpt-6-sol", outcome: "completed", status: 200, ms: 812, first_token_ms: null }],
      context: { messages: 1, omitted: 0, estimated_tokens: 9 },
    });
    expect(await get(`/api/v1/turns/${id("d2")}`)).toMatchObject({
      ...{ status: "failed", error: { code: "provider_unavailable" }, attempts: [{ status: 503 }] },
    });
    for (const turn of ["d3", "d4"]) expect((await get(`/api/v1/turns/${id(turn)}`)).status).toBe("completed");
    const { models } = await get("/api/v1/usage?user_id=ann&from=2026-11-20&to=2026-11-21");
    expect(models).toContainEqual(expect.objectContaining({ model: "groq/openai/gpt-oss-20b", output_tokens: 4 }));
    expect(models).toContainEqual(expect.objectContaining({ model: "openai/gpt-6-sol", turns: 2, cost_usd: 0.00125 }));
  });

  it("ends the turn that was cut off, with what there was of it, and answers the one behind it", async () => {
    const state = async (turn: string) => (await get(`/api/v1/turns/${id(turn)}`)).status;
    await expect.poll(() => state("d6"), PATIENT).toBe("completed");
    expect(await state("d5")).toBe("incomplete");
    const [question, partial, next, answer] = contents(await get(`/chats/${id("c2")}/messages`));
    expect([question, partial, next]).toEqual(["How deep is the sea?", "Eleven kilo", "And how salt?"]);
    expect(answer).toMatch(/\S/);
  });

  it("knows every idempotency key", async () => {
    for (const key of ["order-42", "made-1"]) {
      const headers = { "x-user-id": "ann", "idempotency-key": key };
      const again = await app.call("POST", "/api/chat/send", { message: "Hello?" }, headers);
      expectProblem(again, 422, "idempotency_mismatch");
    }
  });

  it("has every row, and each with its parent", async () => {
    expect(await counts(url)).toEqual({
      ...{ conversations: 3, messages: 14, message_extensions: 2, turns: 6, idempotency_keys: 2, tombstones: 1 },
    });
    expect(await orphans(url)).toEqual([]);
    const newest = `select last_seq from conversations where id in ('${id("c1")}', '${id("c3")}') order by id`;
    expect(await select(url, newest)).toEqual([{ last_seq: 9 }, { last_seq: 4 }]);
  });

  it("answers in an old conversation, and takes what belongs to it along when that is deleted", async () => {
    const sent = await app.call("POST", "/chat", { user_id: "ann", chat_id: id("c1"), message: "And a sloop?" });
    expect(sent.status).toBe(200);
    const shown = await get(`/chats/${id("c1")}/messages`);
    expect(contents(shown).slice(4)).toEqual(["And a sloop?", sent.json.reply]);
    expect((await get("/chats?user_id=ann")).chats[0]).toMatchObject({ id: id("c1"), message_count: 6 });
    expect((await app.call("DELETE", `/chats/${id("c1")}?user_id=ann`)).status).toBe(204);
    expect(await counts(url)).toMatchObject({ conversations: 2, messages: 8, message_extensions: 1, turns: 7 });
    expect(await orphans(url)).toEqual([]);
  });

  it("has kept the file as it was, where it is a file", async () => {
    const address = parseDatabaseUrl(url);
    if (address.dialect === "postgres") return expect(existsSync(url)).toBe(false);
    const next = schema === "of 0000_init" ? "0001_open_turns" : "0000_init";
    expect(await counts(`${address.path}.before-${next}`)).toMatchObject({ conversations: 3, messages: 14, turns: 6 });
  });
});

it.each(runtimes)("on %s the log says where the file is kept as it was", async (runtime) => {
  const url = await databases[0].fresh();
  await fill(url, "of 0000_init");
  const service = await startService(runtime, { DATABASE_URL: url });
  onTestFinished(async () => void (await service.end("SIGKILL")));
  const line = service.logged.find((text) => text.includes("migrations are pending"));
  expect(JSON.parse(line ?? "").file).toBe(`${url.slice("sqlite:///".length)}.before-0001_open_turns`);
});
