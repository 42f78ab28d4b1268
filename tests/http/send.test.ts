import { describe, expect, it } from "vitest";
import { databases } from "../support/databases.ts";
import { expectProblem, laterMillisecond, NOBODY, nextLink, time, uuid } from "../support/http-expect.ts";
import { declares, useApp } from "../support/http-setup.ts";

type Listed = { id: string; title: string; last_message: string; updated_at: string };

describe.each(databases)("the send surface on $database", ({ fresh }) => {
  const parts = useApp({}, fresh);
  const call: typeof parts.app.call = (...args) => parts.app.call(...args);
  const send = (message: string, more: object = {}) => call("POST", "/api/chat/send", { message, ...more });
  const list = async (user: string): Promise<Listed[]> =>
    (await call("GET", `/api/chat/conversations?user_id=${user}`)).json.conversations;

  it.each([
    ["without an id", {}],
    ["with null for an id", { conversation_id: null }],
  ])("makes and titles a conversation for a message %s", async (_, more) => {
    const sent = await send("Plan my week", more);
    expect(sent.status).toBe(200);
    expect(sent.json).toMatchObject({ conversation_id: uuid, message: "Echo: Plan my week", timestamp: time });
    const got = await call("GET", `/api/chat/conversations/${sent.json.conversation_id}`);
    expect(got.status).toBe(200);
    expect(got.json).toMatchObject({
      id: sent.json.conversation_id,
      title: "Plan my week",
      messages: [
        { role: "user", content: "Plan my week", timestamp: time },
        { role: "assistant", content: "Echo: Plan my week", timestamp: time },
      ],
    });
  });

  it("makes a conversation where the id is empty or null, as older clients send it", async () => {
    for (const conversation_id of ["", null]) {
      const sent = await parts.app.call("POST", "/api/chat/send", { message: "Hello", conversation_id });
      expect(sent.json).toMatchObject({ conversation_id: uuid, message: "Echo: Hello" });
    }
  });

  it("titles with at most 60 characters", async () => {
    const sent = await send("Lisbon ".repeat(40));
    const { title } = (await call("GET", `/api/chat/conversations/${sent.json.conversation_id}`)).json;
    expect(title).toMatch(/^Lisbon Lisbon/);
    expect(title.length).toBeLessThanOrEqual(60);
  });

  it("goes on with a conversation, whose earlier messages the model is shown", async () => {
    const { conversation_id } = (await send("first")).json;
    const second = await send("second", { conversation_id });
    expect(second.json).toMatchObject({ conversation_id, message: "Echo: second" });
    expect(parts.provider.asked.at(-1)?.body.messages).toEqual([
      { role: "user", content: "first" },
      { role: "assistant", content: "Echo: first" },
      { role: "user", content: "second" },
    ]);
    const { messages } = (await call("GET", `/api/chat/conversations/${conversation_id}`)).json;
    expect(messages.map(({ content }: { content: string }) => content)).toEqual([
      "first",
      "Echo: first",
      "second",
      "Echo: second",
    ]);
  });

  it("asks the model that was named", async () => {
    expect((await send("hello", { model: "openai/other-model" })).json.message).toBe("Echo: hello");
    expect(parts.provider.asked.at(-1)?.body.model).toBe("other-model");
  });

  it("knows no conversation under an id that nothing has, and makes none", async () => {
    expectProblem(await send("hello", { conversation_id: NOBODY, user_id: "stranger" }), 404, "not_found");
    expectProblem(await call("GET", `/api/chat/conversations/${NOBODY}`), 404, "not_found");
    expect(await list("stranger")).toEqual([]);
  });

  it("lists conversations with their last message, the newest first", async () => {
    const one = (await send("one", { user_id: "lister" })).json.conversation_id;
    await laterMillisecond();
    const two = (await send("two", { user_id: "lister" })).json.conversation_id;
    await laterMillisecond();
    expect(await list("lister")).toMatchObject([
      { id: two, title: "two", last_message: "Echo: two", updated_at: time },
      { id: one, title: "one", last_message: "Echo: one", updated_at: time },
    ]);
    await send("again", { conversation_id: one });
    expect(await list("lister")).toMatchObject([
      { id: one, title: "one", last_message: "Echo: again" },
      { id: two, title: "two", last_message: "Echo: two" },
    ]);
  });

  it("lists the newest 50, and links to the rest", async () => {
    const chats = Array.from({ length: 53 }, () => call("POST", "/chats", { user_id: "many" }));
    const made: string[] = (await Promise.all(chats)).map((chat) => chat.json.id);
    const newest = await call("GET", "/api/chat/conversations?user_id=many");
    expect(newest.json.conversations).toHaveLength(50);
    expect(newest.json.conversations[0]).toMatchObject({ title: null, last_message: null });
    const rest = await call("GET", nextLink(newest) ?? "");
    expect(rest.json.conversations).toHaveLength(3);
    expect(nextLink(rest)).toBeUndefined();
    const walked = [...newest.json.conversations, ...rest.json.conversations].map(({ id }: Listed) => id);
    expect(walked.sort()).toEqual(made.sort());
  });

  it("shows the newest 500 messages, and links to the rest", async () => {
    const { conversation_id } = (await send("message 0")).json;
    for (let i = 1; i < 252; i++) await send(`message ${i}`, { conversation_id });
    const newest = await call("GET", `/api/chat/conversations/${conversation_id}`);
    expect(newest.json.messages).toHaveLength(500);
    const rest = await call("GET", nextLink(newest) ?? "");
    expect(rest.json.messages).toHaveLength(4);
    expect(rest.json.messages.slice(0, 2)).toMatchObject([{ content: "message 0" }, { content: "Echo: message 0" }]);
    expect(nextLink(rest)).toBeUndefined();
    const all = [...rest.json.messages, ...newest.json.messages].map(({ content }: { content: string }) => content);
    expect(all).toEqual(Array.from({ length: 252 }, (_, i) => [`message ${i}`, `Echo: message ${i}`]).flat());
  });

  it.each(["after=nonsense", "user_id=", "after=x&after=y"])("refuses a list with ?%s", async (query) => {
    expectProblem(await call("GET", `/api/chat/conversations?${query}`), 422, "validation_failed");
  });

  it("shows a conversation of the chats surface, and that one its own", async () => {
    const chat = (await call("POST", "/chats", { user_id: "both" })).json;
    await call("POST", "/chat", { chat_id: chat.id, message: "by chat" });
    await send("by send", { conversation_id: chat.id });
    expect(await list("both")).toMatchObject([{ id: chat.id, title: "by chat", last_message: "Echo: by send" }]);
    const { conversation_id } = (await send("made by send", { user_id: "both" })).json;
    expect((await call("GET", `/chats/${conversation_id}`)).json).toMatchObject({
      user_id: "both",
      title: "made by send",
      message_count: 2,
    });
  });

  declares(parts);
});
