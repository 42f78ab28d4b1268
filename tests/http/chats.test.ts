import { describe, expect, it } from "vitest";
import { databases } from "../support/databases.ts";
import { expectProblem, laterMillisecond, NOBODY, time, uuid } from "../support/http-expect.ts";
import { declares, useApp } from "../support/http-setup.ts";

describe.each(databases)("chats on $database", ({ fresh }) => {
  const parts = useApp({}, fresh);
  const call: typeof parts.app.call = (...args) => parts.app.call(...args);
  const make = async (body?: object): Promise<{ id: string; updated_at: string }> =>
    (await call("POST", "/chats", body)).json;
  const newChat = {
    id: uuid,
    user_id: "anonymous",
    title: null,
    created_at: time,
    updated_at: time,
    message_count: 0,
  };

  it.each([
    ["no body", undefined],
    ["an empty object", {}],
    [
      "fields it does not know",
      { id: NOBODY, message_count: 7, created_at: "2001-01-01T00:00:00.000Z", is_admin: true },
    ],
  ])("makes a chat from %s", async (_, body) => {
    const made = await call("POST", "/chats", body);
    expect(made.status).toBe(201);
    expect(made.headers.get("content-type")).toMatch(/^application\/json/);
    expect(made.json).toMatchObject(newChat);
    expect(made.json.id).not.toBe(NOBODY);
    expect(made.json.created_at).toBe(made.json.updated_at);
    expect(Math.abs(Date.parse(made.json.created_at) - Date.now())).toBeLessThan(60_000);
    expect((await call("GET", `/chats/${made.json.id}`)).json).toEqual(made.json);
  });

  it("makes a chat for a user and with a title", async () => {
    const made = await call("POST", "/chats", { user_id: "ann", title: "Plans" });
    expect(made.status).toBe(201);
    expect(made.json).toMatchObject({ ...newChat, user_id: "ann", title: "Plans" });
  });

  it.each([
    ["an empty title", "title", { title: "" }],
    ["a title of 201 characters", "title", { title: "x".repeat(201) }],
    ["a title that is a number", "title", { title: 7 }],
    ["an empty user_id", "user_id", { user_id: "" }],
    ["a user_id of 256 characters", "user_id", { user_id: "x".repeat(256) }],
    ["a user_id that is a number", "user_id", { user_id: 7 }],
    ["null", "", null],
    ["a list", "", []],
    ["a string", "", "a string"],
  ])("makes no chat from %s", async (_, path, body) => {
    const refused = await call("POST", "/chats", JSON.stringify(body));
    expectProblem(refused, 422, "validation_failed");
    expect(refused.json.errors[0].path).toBe(path);
  });

  it("takes user ids of up to 255 characters, of any script", async () => {
    for (const user_id of ["x".repeat(255), "ülkü/🦜 O'Brien%"]) {
      const made = await call("POST", "/chats", { user_id });
      expect(made.json).toMatchObject({ user_id });
      const listed = await call("GET", `/chats?user_id=${encodeURIComponent(user_id)}`);
      expect(listed.json).toEqual({ chats: [made.json], total: 1, next_cursor: null });
    }
  });

  it("answers a message, names the answer, and counts both", async () => {
    const { id } = await make();
    const sent = await call("POST", "/chat", { chat_id: id, message: "hello there" });
    expect(sent.status).toBe(200);
    expect(sent.json).toMatchObject({
      reply: "Echo: hello there",
      chat_id: id,
      message_id: uuid,
      turn_id: uuid,
      model: "openai/local-model",
    });
    const messages = await call("GET", `/chats/${id}/messages`);
    expect(messages.json).toMatchObject([
      { id: uuid, chat_id: id, role: "user", content: "hello there", created_at: time },
      { id: sent.json.message_id, chat_id: id, role: "assistant", content: "Echo: hello there", created_at: time },
    ]);
    expect((await call("GET", `/chats/${id}`)).json).toMatchObject({ message_count: 2 });
  });

  it("asks the model that was named", async () => {
    const { id } = await make();
    const sent = await call("POST", "/chat", { chat_id: id, message: "hello", model: "openai/other-model" });
    expect(sent.json).toMatchObject({ reply: "Echo: hello", model: "openai/other-model" });
    expect(parts.provider.asked.at(-1)?.body.model).toBe("other-model");
  });

  it("gives a chat its title with the first message, at most 60 characters of it, and never again", async () => {
    const { id } = await make();
    const first = `What should I see in ${"Lisbon and ".repeat(20)}Porto?`;
    await call("POST", "/chat", { chat_id: id, message: first });
    const titled = await call("GET", `/chats/${id}`);
    expect(titled.json.title).toMatch(/^What should I see in Lisbon/);
    expect(titled.json.title.length).toBeLessThanOrEqual(60);
    await call("POST", "/chat", { chat_id: id, message: "and then?" });
    expect((await call("GET", `/chats/${id}`)).json.title).toBe(titled.json.title);
  });

  it.each([
    ["one long word", "x".repeat(100), /^x{30}/],
    ["characters of two units", `a${"🦜".repeat(60)}`, /^a🦜{15}/u],
  ])("cuts a title of %s at 60, and no character in half", async (_, message, start) => {
    const { id } = await make();
    await call("POST", "/chat", { chat_id: id, message });
    const { title } = (await call("GET", `/chats/${id}`)).json;
    expect(title).toMatch(start);
    expect(title.length).toBeLessThanOrEqual(60);
    expect(title.isWellFormed()).toBe(true);
  });

  it("keeps the title that a chat was given", async () => {
    const { id } = await make({ title: "Mine" });
    await call("POST", "/chat", { chat_id: id, message: "hello" });
    expect((await call("GET", `/chats/${id}`)).json.title).toBe("Mine");
  });

  it("renames a chat and moves its updated_at", async () => {
    const chat = await make();
    await laterMillisecond();
    const renamed = await call("PATCH", `/chats/${chat.id}`, { title: "y".repeat(200) });
    expect(renamed.status).toBe(200);
    expect(renamed.json).toEqual({ ...chat, title: "y".repeat(200), updated_at: time });
    expect(renamed.json.updated_at > chat.updated_at).toBe(true);
    expect((await call("GET", `/chats/${chat.id}`)).json).toEqual(renamed.json);
  });

  it.each([
    ["an empty title", { title: "" }],
    ["201 characters", { title: "x".repeat(201) }],
    ["null", { title: null }],
    ["an empty object", {}],
    ["no body", undefined],
  ])("renames nothing to %s", async (_, body) => {
    const chat = await make({ title: "Kept" });
    expectProblem(await call("PATCH", `/chats/${chat.id}`, body), 422, "validation_failed");
    expect((await call("GET", `/chats/${chat.id}`)).json).toEqual(chat);
  });

  it("moves updated_at with every message", async () => {
    const chat = await make();
    await laterMillisecond();
    await call("POST", "/chat", { chat_id: chat.id, message: "hello" });
    const after = await call("GET", `/chats/${chat.id}`);
    expect(after.json.updated_at > chat.updated_at).toBe(true);
    expect(after.json.created_at).toBe(chat.updated_at);
  });

  it("forgets a deleted chat and its messages", async () => {
    const { id } = await make({ user_id: "deleter" });
    await call("POST", "/chat", { chat_id: id, message: "hello" });
    const deleted = await call("DELETE", `/chats/${id}`);
    expect({ status: deleted.status, text: deleted.text }).toEqual({ status: 204, text: "" });
    expectProblem(await call("GET", `/chats/${id}`), 404, "not_found");
    expectProblem(await call("GET", `/chats/${id}/messages`), 404, "not_found");
    expectProblem(await call("GET", `/api/chat/conversations/${id}`), 404, "not_found");
    expectProblem(await call("PATCH", `/chats/${id}`, { title: "x" }), 404, "not_found");
    expectProblem(await call("POST", "/chat", { chat_id: id, message: "x" }), 404, "not_found");
    expect((await call("GET", "/chats?user_id=deleter")).json).toEqual({ chats: [], total: 0, next_cursor: null });
  });

  it("finds nothing to delete a second time, or under an id that nothing has", async () => {
    const { id } = await make();
    expect((await call("DELETE", `/chats/${id}`)).status).toBe(204);
    expectProblem(await call("DELETE", `/chats/${id}`), 404, "not_found");
    expectProblem(await call("DELETE", `/chats/${NOBODY}`), 404, "not_found");
  });

  declares(parts);
});
