import { beforeAll, beforeEach, describe, expect, it } from "vitest";
import { databases } from "../support/databases.ts";
import { expectProblem } from "../support/http-expect.ts";
import { declares, useApp } from "../support/http-setup.ts";

const MOST = 4096;
const json = { "content-type": "application/json" };

describe.each(databases)("bodies on $database", ({ fresh }) => {
  const parts = useApp({ MAX_BODY_BYTES: String(MOST) }, fresh);
  const call: typeof parts.app.call = (...args) => parts.app.call(...args);
  const countAll = async () => (await call("GET", "/chats")).json.total;
  let chat_id: string;
  let before: number;
  beforeAll(async () => {
    chat_id = (await call("POST", "/chats")).json.id;
  });
  beforeEach(async () => {
    before = await countAll();
  });

  /** Every route that takes a body, and a body that it would take; `message` where it has one. */
  const routes: [string, string, () => Record<string, unknown>][] = [
    ["POST", "/chats", () => ({ title: "x" })],
    ["PATCH", "/chats/ID", () => ({ title: "x" })],
    ["POST", "/chat", () => ({ chat_id, message: "x" })],
    ["POST", "/api/chat/send", () => ({ message: "x" })],
  ];
  const real = (path: string) => path.replace("ID", chat_id);

  describe.each(routes)("%s %s", (method, route, good) => {
    const send = (body: RequestInit["body"], headers: Record<string, string> = json) =>
      parts.app.request(real(route), { method, headers, body: body ?? null, duplex: "half" });

    it.each(["{", '{"title": "x", }', "title=x", "{'a': 1}", "{} {}", '"\\u12"', '{"a":"\0"}', "\u0000"])(
      "refuses what is no JSON: %j",
      async (text) => expectProblem(await send(text), 400, "malformed_json"),
    );

    it.each([
      "text/plain",
      "application/x-www-form-urlencoded",
      "multipart/form-data; boundary=x",
      "text/json",
      "json",
    ])("refuses JSON under the type %s", async (type) => {
      const refused = await send(JSON.stringify(good()), { "content-type": type });
      expectProblem(refused, 415, "unsupported_media_type");
    });

    it("refuses JSON without a type", async () => {
      expectProblem(await send(new TextEncoder().encode(JSON.stringify(good())), {}), 415, "unsupported_media_type");
    });

    it.each(["application/json; charset=utf-8", "Application/JSON", "application/json;charset=UTF-8"])(
      "takes JSON under the type %s",
      async (type) => {
        expect((await send(JSON.stringify(good()), { "content-type": type })).status).toBeLessThan(300);
      },
    );

    const padded = () => JSON.stringify({ ...good(), ignored: "x".repeat(MOST) });
    it("refuses a body that says it is too large", async () => {
      const text = padded();
      const refused = await send(text, { ...json, "content-length": String(text.length) });
      expectProblem(refused, 413, "payload_too_large");
    });

    it("refuses a body that turns out too large, without reading on", async () => {
      let pulled = 0;
      const long = new ReadableStream({
        pull(controller) {
          controller.enqueue(new TextEncoder().encode(pulled++ === 0 ? '{"a":"' : "x".repeat(512)));
          if (pulled === 1_000) controller.close();
        },
      });
      expectProblem(await send(long), 413, "payload_too_large");
      expect(pulled).toBeLessThan(20);
    });

    it("takes a body of exactly the size that is allowed", async () => {
      const text = JSON.stringify({ ...good(), ignored: "" });
      const full = text.replace('"ignored":""', `"ignored":"${"x".repeat(MOST - text.length)}"`);
      expect(full).toHaveLength(MOST);
      expect((await send(full, { ...json, "content-length": String(MOST) })).status).toBeLessThan(300);
    });

    const storable = "must not reach storage";
    const unstorable: [string, string][] = [
      ["U+0000", String.raw`\u0000`],
      ["a high surrogate alone", String.raw`\ud83d`],
      ["a low surrogate alone", String.raw`\uDC9C`],
      ["surrogates in the wrong order", String.raw`\udc9c\ud83d`],
    ];
    const places: [string, (bad: string) => string][] = [
      ["in an ignored field", (bad) => `"ignored":"a${bad}b"`],
      ["in a name", (bad) => `"a${bad}b":"${storable}"`],
      ["nested in lists and objects", (bad) => `"ignored":[1,{"deep":[["${bad}"]]}]`],
      ["in a nested name", (bad) => `"ignored":{"deep":{"${bad}":null}}`],
      ["under a name that objects have already", (bad) => `"__proto__":{"toString":"${bad}"}`],
    ];
    it.each(unstorable)("refuses %s wherever it stands", async (_, bad) => {
      const start = JSON.stringify(good()).slice(0, -1);
      for (const [where, spoil] of places) {
        const refused = await send(`${start},${spoil(bad)}}`);
        expect([where, refused.status]).toEqual([where, 422]);
        expectProblem(refused, 422, "validation_failed");
      }
      for (const name of Object.keys(good())) {
        const spoiled = JSON.stringify({ ...good(), [name]: "BAD" }).replace("BAD", bad);
        expectProblem(await send(spoiled), 422, "validation_failed");
      }
    });

    it("looks as closely at a body whose type is spelled in capitals", async () => {
      const shouting = { "content-type": "Application/JSON" };
      for (const [, bad] of unstorable) {
        for (const name of Object.keys(good())) {
          const spoiled = JSON.stringify({ ...good(), [name]: "BAD" }).replace("BAD", bad);
          expectProblem(await send(spoiled, shouting), 422, "validation_failed");
        }
      }
      expectProblem(await send(`${"[".repeat(1_000)}${"]".repeat(1_000)}`, shouting), 422, "validation_failed");
    });
  });

  it("take what only looks unstorable: an escaped backslash, a whole surrogate pair", async () => {
    const message = String.raw`\u0000 \ud83d 🦜 ${"\u0001"}`;
    const sent = await call("POST", "/api/chat/send", { message });
    expect(sent.status).toBe(200);
    const got = await call("GET", `/api/chat/conversations/${sent.json.conversation_id}`);
    expect(got.json.messages[0].content).toBe(message);
    const pair = String.raw`{"message":"\ud83e\udd9c"}`;
    expect((await call("POST", "/api/chat/send", pair)).json.message).toBe("Echo: 🦜");
  });

  it.each([
    ["DELETE", "/chats/ID"],
    ["POST", "/api/v1/turns/ID/cancel"],
  ])("are held to the same limits where none is asked for: %s %s", async (method, route) => {
    const send = (body: string) => parts.app.request(real(route), { method, headers: json, body });
    expectProblem(await send("x".repeat(MOST + 1)), 413, "payload_too_large");
    expectProblem(await send('{"a":"\\u0000"'), 400, "malformed_json");
    expectProblem(await send('{"a":"\\u0000"}'), 422, "validation_failed");
  });

  it("that were refused have stored nothing", async () => {
    await call("POST", "/api/chat/send", String.raw`{"message":"x","ignored":"\u0000"}`);
    await call("POST", "/chats", "{");
    expect(await countAll()).toBe(before);
  });

  declares(parts);
});
