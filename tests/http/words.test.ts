import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startApp, type TestApp } from "../support/app.ts";

let app: TestApp;
beforeAll(async () => {
  app = await startApp({ DATABASE_URL: ":memory:" });
});
afterAll(() => app.stop());

describe("a field that is wrong", () => {
  it.each<[unknown, string]>([
    [{}, "message: is required"],
    [[], "the body must be an object"],
    [{ message: 5 }, "message: must be a string"],
    [{ message: "" }, "message: must not be empty"],
    [{ message: "x", model: "" }, "model: must not be empty"],
    [{ message: "x", model: "x".repeat(256) }, "model: must have at most 255 characters"],
    [{ message: "x", temperature: "hot" }, "temperature: must be a number"],
    [{ message: "x", temperature: 3 }, "temperature: must be at most 2"],
    [{ message: "x", max_tokens: 0 }, "max_tokens: must be at least 1"],
    [{ message: "x", max_tokens: 1.5 }, "max_tokens: must be a whole number"],
    [{ message: "x", stream: "yes" }, "stream: must be true or false"],
    [{ message: "x", if_busy: "wait" }, "if_busy: must be one of queue, reject, interrupt"],
  ])("of %j is told what would be right", async (body, detail) => {
    expect((await app.call("POST", "/api/chat/send", body)).json).toMatchObject({ status: 422, detail });
  });

  it("of a query is told so, too", async () => {
    const { json } = await app.call("GET", "/chats?limit=1000");
    expect(json.errors).toEqual([{ path: "limit", message: "must be at most 100" }]);
  });
});

it.each(["/", "/health", "/chats", "/models", "/openapi.json", "/nowhere", "/chats?limit=x"])(
  "JSON ends with a line end: %s",
  async (path) => {
    const { text, json } = await app.call("GET", path);
    expect(text).toBe(`${JSON.stringify(json)}\n`);
  },
);
