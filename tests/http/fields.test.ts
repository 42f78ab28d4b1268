import { describe, expect, it } from "vitest";
import { expectProblem } from "../support/http-expect.ts";
import { declares, useApp } from "../support/http-setup.ts";

describe("bodies", () => {
  const parts = useApp();
  const routes = ["/chats", "/chat", "/api/chat/send"];

  it.each([
    ["lists", "[", "]"],
    ["objects", '{"a":', "}"],
  ])("20,000 levels of %s deep are a 422 and nothing worse", async (_, open, close) => {
    const deep = open.repeat(20_000) + (open === "[" ? "" : "1") + close.repeat(20_000);
    for (const route of routes) {
      for (const body of [deep, `{"message":"x","title":"x","ignored":${deep}}`]) {
        expectProblem(await parts.app.call("POST", route, body), 422, "validation_failed");
      }
    }
  });

  it("with many brackets in a text are not deep", async () => {
    const message = `${"[{".repeat(500)}"\\`;
    expect((await parts.app.call("POST", "/api/chat/send", { message })).status).toBe(200);
  });

  const tooLong = "x".repeat(200_000);
  it.each([
    ["empty", ""],
    ["blank", " \n\t\u00a0"],
    ["too long", tooLong],
    ["null", null],
    ["a number", 7],
    ["a list", ["x"]],
  ])("hold no message that is %s", async (_, message) => {
    const { id: chat_id } = (await parts.app.call("POST", "/chats")).json;
    for (const [route, more] of [
      ["/chat", { chat_id }],
      ["/api/chat/send", {}],
    ] as const) {
      const refused = await parts.app.call("POST", route, { ...more, message });
      expectProblem(refused, 422, "validation_failed");
      expect(refused.json.errors).toMatchObject([{ path: "message" }]);
      expect(refused.text.length).toBeLessThan(2_000);
    }
    expect((await parts.app.call("GET", `/chats/${chat_id}`)).json.message_count).toBe(0);
  });

  it.each([
    ["Latin", "x", 131_072],
    ["Greek", "λ", 65_536],
    ["elephants", "🐘", 32_768],
  ])("hold a message of 128 KiB of UTF-8 and not a byte more: %s", async (_, letter, most) => {
    const send = (message: string) => parts.app.call("POST", "/api/chat/send", { message });
    expect((await send(letter.repeat(most))).json.code).not.toBe("validation_failed"); // the model may find it too long
    const refused = await send(`${letter.repeat(most)}.`);
    expectProblem(refused, 422, "validation_failed");
    expect(refused.json.errors).toEqual([{ path: "message", message: "must be at most 128 KiB of UTF-8" }]);
  });

  it("hold a system prompt of 32 KiB of UTF-8 and not a byte more", async () => {
    const send = (system_prompt: string) => parts.app.call("POST", "/api/chat/send", { message: "x", system_prompt });
    expect((await send("ü".repeat(16_384))).json.code).not.toBe("validation_failed");
    const refused = await send(`${"ü".repeat(16_384)}.`);
    expectProblem(refused, 422, "validation_failed");
    expect(refused.json.errors).toEqual([{ path: "system_prompt", message: "must be at most 32 KiB of UTF-8" }]);
    expectProblem(await send(""), 422, "validation_failed");
  });

  it("that lack a field name it", async () => {
    const refused = await parts.app.call("POST", "/chat", {});
    expectProblem(refused, 422, "validation_failed");
    expect(refused.json.errors.map(({ path }: { path: string }) => path).sort()).toEqual(["chat_id", "message"]);
  });

  it.each([
    ["an unknown alias", { model: "nonsense" }, "model"],
    ["a model without its key", { model: "groq/openai/gpt-oss-20b" }, "model"],
    ["an unknown provider", { model: "acme/model" }, "model"],
    ["a stream that is no boolean", { stream: "yes" }, "stream"],
    ["an unknown if_busy", { if_busy: "wait" }, "if_busy"],
  ])("that ask for %s are refused, and nothing is stored", async (_, more, path) => {
    const { id: chat_id } = (await parts.app.call("POST", "/chats")).json;
    const asked = parts.provider.asked.length;
    for (const [route, fields] of [
      ["/chat", { chat_id }],
      ["/api/chat/send", { conversation_id: chat_id }],
    ] as const) {
      const refused = await parts.app.call("POST", route, { ...fields, message: "x", ...more });
      expectProblem(refused, 422, "validation_failed");
      expect(refused.json.errors).toMatchObject([{ path }]);
      if (path === "model") expect(refused.json.detail).toMatch(/fast.*balanced.*smart/);
    }
    expect((await parts.app.call("GET", `/chats/${chat_id}`)).json.message_count).toBe(0);
    expect(parts.provider.asked).toHaveLength(asked);
  });

  it("may say what is the default anyway: stream: false, if_busy: queue, model: balanced", async () => {
    const body = { message: "x", stream: false, if_busy: "queue", model: "balanced" };
    expect((await parts.app.call("POST", "/api/chat/send", body)).status).toBe(200);
  });

  declares(parts);
});
