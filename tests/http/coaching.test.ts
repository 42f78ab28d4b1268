import { describe, expect, it } from "vitest";
import { databases } from "../support/databases.ts";
import { expectProblem, NOBODY, uuid } from "../support/http-expect.ts";
import { declares, useApp } from "../support/http-setup.ts";

describe.each(databases)("the coaching surface on $database", ({ fresh }) => {
  const parts = useApp({}, fresh);
  const call: typeof parts.app.call = (...args) => parts.app.call(...args);

  it("generates a response in a chat that it makes, and goes on in it", async () => {
    const first = await call("POST", "/generate-response", { user_id: "carl", message: "hello" });
    expect(first.status).toBe(200);
    expect(first.json).toMatchObject({ response: "Echo: hello", chat_id: uuid, turn_id: uuid });
    const { chat_id } = first.json;
    const second = await call("POST", "/generate-response", { user_id: "carl", message: "again", chat_id });
    expect(second.json).toMatchObject({ response: "Echo: again", chat_id });
    expect(parts.provider.asked.at(-1)?.body.messages).toHaveLength(3);
    expect((await call("GET", `/chats/${chat_id}`)).json).toMatchObject({ user_id: "carl", message_count: 4 });
  });

  it("makes a chat, and answers a message to it", async () => {
    const made = await call("POST", "/api/v1/chats", { user_id: "dora" });
    expect(made.status).toBe(200);
    expect(made.json).toEqual({ chat_id: uuid });
    const sent = await call("POST", "/api/v1/chat/message", { ...made.json, user_id: "dora", content: "hi" });
    expect(sent.status).toBe(200);
    expect(sent.json).toMatchObject({
      status: "success",
      message_id: uuid,
      ...made.json,
      user_id: "dora",
      content: "Echo: hi",
    });
    const { messages } = (await call("GET", `/conversations/${made.json.chat_id}`)).json;
    expect(messages.at(-1)).toMatchObject({ id: sent.json.message_id, content: "Echo: hi" });
  });

  it("makes a chat without any body", async () => {
    expect((await call("POST", "/api/v1/chats/")).json).toEqual({ chat_id: uuid });
  });

  it("is a partial success where no provider answers: the message is stored all the same", async () => {
    const { chat_id } = (await call("POST", "/api/v1/chats")).json;
    parts.provider.behave(() => ({ status: 500 }));
    const sent = await call("POST", "/api/v1/chat/message", { chat_id, content: "lost?" });
    expect(sent.status).toBe(200);
    expect(sent.json).toMatchObject({
      status: "partial_success",
      chat_id,
      user_id: "anonymous",
      content: "lost?",
      error: { code: "provider_unavailable", detail: expect.stringMatching(/\S/) },
    });
    const { messages } = (await call("GET", `/conversations/${chat_id}`)).json;
    expect(messages).toMatchObject([{ id: sent.json.message_id, sender: "user", content: "lost?" }]);
  });

  it("refuses what is refused everywhere, also in a partial success's place", async () => {
    const { chat_id } = (await call("POST", "/api/v1/chats")).json;
    parts.provider.behave(() => ({ status: 400, error: { error: { code: "content_filter" } } }));
    const send = (body: object) => call("POST", "/api/v1/chat/message", body);
    expectProblem(await send({ chat_id, content: "bad" }), 422, "content_refused");
    expectProblem(await send({ chat_id: NOBODY, content: "hi" }), 404, "not_found");
    expectProblem(await send({ chat_id, content: " " }), 422, "validation_failed");
    expectProblem(await call("POST", "/generate-response", { message: "" }), 422, "validation_failed");
    parts.provider.behave(() => ({ status: 500 }));
    expectProblem(await call("POST", "/generate-response", { message: "hi" }), 503, "provider_unavailable");
  });

  it("lists every route there is, with a summary", async () => {
    const routes: { method: string; path: string; summary: string }[] = (await call("GET", "/routes")).json;
    const document = (await call("GET", "/openapi.json")).json;
    const documented = Object.entries<object>(document.paths).flatMap(([path, operations]) =>
      Object.keys(operations).map((method) => `${method.toUpperCase()} ${path}`),
    );
    expect(routes.map(({ method, path }) => `${method} ${path}`).sort()).toEqual(documented.sort());
    for (const { summary } of routes) expect(summary).toMatch(/\S/);
  });

  it("lists the models, and which are usable", async () => {
    const models = (await call("GET", "/models")).json;
    expect(models).toMatchObject({ default: "balanced", providers: ["echo", "openai"] });
    expect(models.aliases.map(({ alias }: { alias: string }) => alias)).toEqual(["fast", "balanced", "smart"]);
    expect(models.aliases[1]).toMatchObject({
      usable: true,
      targets: [{ target: "openai/*", usable: true, breaker: expect.stringMatching(/^(closed|open|half_open)$/) }],
    });
  });

  declares(parts);
});
