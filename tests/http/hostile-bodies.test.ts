import { describe, expect, it } from "vitest";
import { expectProblem } from "../support/http-expect.ts";
import { declares, useApp } from "../support/http-setup.ts";

const json = { "content-type": "application/json" };
const bytes = (...parts: (string | number[])[]) =>
  Buffer.concat(parts.map((part) => (typeof part === "string" ? Buffer.from(part) : Buffer.from(part))));

describe("a hostile body", () => {
  const parts = useApp();
  const call: typeof parts.app.call = (...args) => parts.app.call(...args);
  const post = (path: string, body: RequestInit["body"], headers: Record<string, string> = json) =>
    parts.app.request(path, { method: "POST", headers, body: body ?? null, duplex: "half" });

  it.each(["gzip", "br", "deflate", "zstd", "identity, gzip", "x"])("in the coding %s is refused", async (coding) => {
    for (const path of ["/chats", "/api/chat/send", "/conversations", "/generate-response", "/api/v1/chats"]) {
      const refused = await post(path, '{"message":"x"}', { ...json, "content-encoding": coding });
      expectProblem(refused, 415, "unsupported_media_type");
      expect(refused.json.detail).toContain("Content-Encoding");
    }
  });

  it("as it is may say so: Content-Encoding: identity", async () => {
    const made = await post("/chats", '{"title":"x"}', { ...json, "content-encoding": "Identity" });
    expect(made.status).toBe(201);
  });

  const broken: [string, number[]][] = [
    ["a byte that begins nothing", [0xff]],
    ["a sequence cut short", [0xf0, 0x9f, 0x98]],
    ["an overlong slash", [0xc0, 0xaf]],
    ["half a surrogate pair", [0xed, 0xa0, 0x80]],
    ["a code point beyond all", [0xf4, 0x90, 0x80, 0x80]],
    ["Latin-1", [0xe9]],
  ];
  it.each(broken)("that is no UTF-8 is malformed: %s", async (_, bad) => {
    const { total } = (await call("GET", "/chats")).json;
    const body = bytes('{"title":"a', bad, 'b"}');
    const stream = new ReadableStream({
      start(controller) {
        controller.enqueue(body.subarray(0, 12));
        controller.enqueue(body.subarray(12));
        controller.close();
      },
    });
    for (const refused of [await post("/chats", body), await post("/chats", stream)]) {
      expectProblem(refused, 400, "malformed_json");
      expect(refused.json.detail).toContain("UTF-8");
    }
    expect((await call("GET", "/chats")).json.total).toBe(total);
  });

  it("in another charset is malformed, whatever its type says", async () => {
    const utf16 = Buffer.from('{"title":"é"}', "utf16le");
    const refused = await post("/chats", utf16, { "content-type": "application/json; charset=utf-16" });
    expectProblem(refused, 400, "malformed_json");
  });

  it("may begin with a byte order mark, and keeps its real U+FFFD", async () => {
    const made = await post("/chats", bytes([0xef, 0xbb, 0xbf], '{"title":"a\ufffdb"}'));
    expect(made.json).toMatchObject({ title: "a\ufffdb" });
  });

  it("that names a field twice means the last, which is the one that is checked", async () => {
    const made = await post("/chats", '{"title":"first","title":"last"}');
    expect(made.json).toMatchObject({ title: "last" });
    expect((await call("GET", `/chats/${made.json.id}`)).json).toMatchObject({ title: "last" });
    expectProblem(await post("/chats", '{"title":"good","title":7}'), 422, "validation_failed");
    expect((await post("/chats", '{"title":7,"title":"good"}')).json).toMatchObject({ title: "good" });
    const other = await post("/chats", String.raw`{"user_id":"a","user_id":"b","us\u0065r_id":"c"}`);
    expect(other.json).toMatchObject({ user_id: "c" });
  });

  const poisons = [
    '"__proto__":{"title":"poison","user_id":"poison","polluted":true}',
    '"constructor":{"prototype":{"polluted":true}}',
    '"prototype":{"polluted":true},"toString":null,"hasOwnProperty":7',
    '"__proto__":null',
    '"__proto__":[],"__defineGetter__":"x","valueOf":{}',
  ];
  it.each(poisons)("pollutes nothing: %s", async (poison) => {
    const made = await post("/chats", `{${poison}}`);
    expect(made.json).toMatchObject({ title: null, user_id: "anonymous" });
    const sent = await post("/api/chat/send", `{"message":"x",${poison}}`, {
      ...json,
      "idempotency-key": poison.slice(1, 9),
    });
    expect(sent.status).toBe(200);
    expect(({} as Record<string, unknown>)["polluted"]).toBeUndefined();
    expect(JSON.stringify([made.json, sent.json])).not.toMatch(/poison|polluted/);
    for (const path of ["/chats", "/chat", "/conversations", "/generate-response"]) {
      expect((await post(path, `{"message":{${poison}},"title":{${poison}},"chat_id":[]}`)).status).toBeLessThan(500);
    }
  });

  it("has no field that reaches storage by a name nobody knows", async () => {
    const { id } = (await post("/chats", '{"id":"x","message_count":9,"is_live":true,"status":"ended","rev":99}')).json;
    expect((await call("GET", `/chats/${id}`)).json).toMatchObject({ id, message_count: 0 });
    expect((await post("/chat", JSON.stringify({ chat_id: id, message: "x", role: "system" }))).status).toBe(200);
    const roles = (await call("GET", `/chats/${id}/messages`)).json.map(({ role }: { role: string }) => role);
    expect(roles).toEqual(["user", "assistant"]);
  });

  it.each(["1e999", "-1e999", "9007199254740993", "-0", "0", "1.5", '"7"', "true", "1e400"])(
    "has no %s where a whole number is wanted",
    async (number) => {
      const refused = await post("/api/chat/send", `{"message":"x","max_tokens":${number}}`);
      expectProblem(refused, 422, "validation_failed");
      expect(refused.json.errors[0]).toMatchObject({ path: "max_tokens" });
    },
  );

  it.each(["1e999", "-0.1", "3", '"1"', "-1e-400,x"])("has no %s for a temperature", async (number) => {
    const refused = await post("/api/chat/send", `{"message":"x","temperature":${number}}`);
    expect([400, 422]).toContain(refused.status);
  });

  it("gives a number on as the number that it is: 1e2, -0", async () => {
    const sent = await post("/api/chat/send", '{"message":"x","max_tokens":1e2,"temperature":-0}');
    expect(sent.status).toBe(200);
    const { body } = parts.provider.asked.at(-1) ?? {};
    expect(JSON.stringify(body)).toMatch(/"temperature":0[,}]/);
    expect(Object.values(body ?? {})).toContain(100);
  });

  const wide = `[${"0,".repeat(500_000)}0]`;
  it.each([
    ["half a million numbers", `{"message":"x","ignored":${wide}}`, 200],
    ["half a million numbers beside an escape", String.raw`{"message":"x","a":"\ud83e\udd9c","ignored":${wide}}`, 200],
    ["half a million numbers for a message", `{"message":${wide}}`, 422],
    ["a list of half a million", wide, 422],
    ["fifty thousand fields", `{"message":"x",${Array.from({ length: 50_000 }, (_, i) => `"f${i}":0`)}}`, 200],
  ])("is answered soon, and in few words: %s", async (_, body, status) => {
    const answered = await post("/api/chat/send", body);
    expect(answered.status).toBe(status);
    expect(answered.text.length).toBeLessThan(2_000);
  });

  it("names where its one bad character stands", async () => {
    const refused = await post("/api/chat/send", String.raw`{"message":"x","a":[0,{"b":["ok","\u0000"]}]}`);
    expectProblem(refused, 422, "validation_failed");
    expect(refused.json.errors).toMatchObject([{ path: "a.1.b.1" }]);
  });

  it("that is empty is a body only where one may be absent", async () => {
    expect((await post("/chats", "")).status).toBe(201);
    for (const path of ["/chat", "/api/chat/send", "/generate-response"]) {
      expect([400, 422]).toContain((await post(path, "")).status);
    }
  });

  it("that breaks off is the client's failure, not ours", async () => {
    const { total } = (await call("GET", "/chats")).json;
    const torn = () =>
      new ReadableStream({
        pull(controller) {
          controller.enqueue(Buffer.from('{"title":'));
          controller.error(new Error("reset"));
        },
      });
    for (const headers of [json, { ...json, "content-length": "100" }]) {
      expectProblem(await post("/chats", torn(), headers), 400, "malformed_json");
    }
    expect((await call("GET", "/chats")).json.total).toBe(total);
  });

  it("cannot turn one method into another", async () => {
    const { id } = (await call("POST", "/chats", {})).json;
    for (const name of ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"]) {
      expect((await call("GET", `/chats/${id}`, undefined, { [name]: "DELETE" })).json).toMatchObject({ id });
      expect((await call("POST", `/chats/${id}?_method=DELETE`, {}, { [name]: "DELETE" })).status).toBe(405);
    }
    expect((await call("GET", `/chats/${id}`)).status).toBe(200);
  });

  declares(parts);
});
