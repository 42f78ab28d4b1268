import { describe, expect, it } from "vitest";
import { expectProblem } from "../support/http-expect.ts";
import { useApp } from "../support/http-setup.ts";

describe("values at the edge of what can be kept", () => {
  const parts = useApp({});
  const call: typeof parts.app.call = (...args) => parts.app.call(...args);

  it.each([".", ".."])("an id that no path can name is refused: %s", async (user_id) => {
    expectProblem(await call("POST", "/chats", { user_id }), 422, "validation_failed");
    expectProblem(await call("GET", "/chats", undefined, { "x-user-id": user_id }), 422, "validation_failed");
  });

  it.each(["...", ".a", "a."])("an id with dots that a path can name is taken: %s", async (user_id) => {
    expect((await call("POST", "/chats", { user_id })).status).toBe(201);
  });

  it.each(["9007199254740993", "[-12345678901234567890]", '{"deep":[{"id":9007199254740992}]}'])(
    "metadata with a whole number that has lost digits is refused, not rounded: %s",
    async (value) => {
      const refused = await call("POST", "/api/v1/sessions", `{"metadata":{"order":${value}}}`);
      expectProblem(refused, 422, "validation_failed");
      expect(refused.json.detail).toContain("send it as text");
    },
  );

  it.each(["9007199254740991", "-1", "0.1", "1e300", '"9007199254740993"'])(
    "metadata with %s keeps it",
    async (value) => {
      const made = await call("POST", "/api/v1/sessions", `{"metadata":{"order":${value}}}`);
      expect([made.status, made.json.metadata]).toEqual([201, { order: JSON.parse(value) }]);
    },
  );

  it.each(["\u200b\u200d", "\u2060\u3164", " \u00ad"])(
    "a title of which nothing can be seen is refused (%j)",
    async (title) => {
      expectProblem(await call("POST", "/chats", { title }), 422, "validation_failed");
    },
  );

  it("a message of which nothing can be seen leaves its conversation without a title", async () => {
    const { chat_id } = (await call("POST", "/generate-response", { message: "\u200b\u200d" })).json;
    expect((await call("GET", `/chats/${chat_id}`)).json).toMatchObject({ title: null, message_count: 2 });
    await call("POST", "/chat", { chat_id, message: "Now it has one" });
    expect((await call("GET", `/chats/${chat_id}`)).json.title).toBe("Now it has one");
  });
});
