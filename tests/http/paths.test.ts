import { beforeAll, describe, expect, it } from "vitest";
import { SECRET } from "../support/app.ts";
import { startHttp } from "../support/http-app.ts";
import { expectProblem, NOBODY } from "../support/http-expect.ts";
import { declares, useApp } from "../support/http-setup.ts";

describe("paths", () => {
  const parts = useApp();
  const call: typeof parts.app.call = (...args) => parts.app.call(...args);
  let id: string;
  beforeAll(async () => {
    id = (await call("POST", "/chats", { title: "Paths" })).json.id;
  });

  const reads = ["/", "/health", "/health/live", "/health/ready", "/api/v1/health", "/openapi.json"];
  const lists = ["/chats", "/chats/ID", "/chats/ID/messages", "/api/chat/conversations", "/api/chat/conversations/ID"];
  const real = (path: string) => path.replace("ID", id);

  it.each([...reads.slice(1), ...lists])("may end in a slash: %s", async (path) => {
    const [plain, slashed] = [await call("GET", real(path)), await call("GET", `${real(path)}/`)];
    expect([plain.status, slashed.status]).toEqual([200, 200]);
    if (!path.includes("health")) expect(slashed.json).toEqual(plain.json);
  });

  it("may end in a slash where something is written", async () => {
    const made = await call("POST", "/chats/", {});
    expect(made.status).toBe(201);
    expect((await call("PATCH", `/chats/${made.json.id}/`, { title: "x" })).status).toBe(200);
    expect((await call("POST", "/chat/", { chat_id: made.json.id, message: "x" })).status).toBe(200);
    expect((await call("POST", "/api/chat/send/", { message: "x" })).status).toBe(200);
    expect((await call("DELETE", `/chats/${made.json.id}/`)).status).toBe(204);
  });

  it.each([...reads, ...lists])("answer HEAD as GET, without the body: %s", async (path) => {
    const [got, head] = [await call("GET", real(path)), await call("HEAD", real(path))];
    expect({ status: head.status, text: head.text }).toEqual({ status: 200, text: "" });
    expect(head.headers.get("content-type")).toBe(got.headers.get("content-type"));
  });

  const methods: [string, string, string[]][] = [
    ["/", "POST", ["GET", "HEAD"]],
    ["/health", "DELETE", ["GET", "HEAD"]],
    ["/openapi.json", "POST", ["GET", "HEAD"]],
    ["/chats", "PUT", ["GET", "HEAD", "POST"]],
    ["/chats/ID", "POST", ["GET", "HEAD", "PATCH", "DELETE"]],
    ["/chats/ID/messages", "POST", ["GET", "HEAD"]],
    ["/chat", "GET", ["POST"]],
    ["/chat", "HEAD", ["POST"]],
    ["/api/chat/send", "GET", ["POST"]],
    ["/api/chat/conversations", "POST", ["GET", "HEAD"]],
    ["/api/chat/conversations/ID/", "DELETE", ["GET", "HEAD"]],
  ];
  it.each(methods)(
    "refuse a method that they do not know, and name those they do: %s %s",
    async (path, method, allow) => {
      const refused = await call(method, real(path), method === "HEAD" || method === "GET" ? undefined : {});
      expect(refused.status).toBe(405);
      if (method !== "HEAD") expectProblem(refused, 405, "method_not_allowed");
      const allowed = refused.headers.get("allow")?.split(/, */) ?? [];
      expect(allowed.filter((name) => name !== "OPTIONS").sort()).toEqual(allow.sort());
    },
  );

  it.each([...reads, ...lists, "/chat", "/api/chat/send"])("answer OPTIONS with what they take: %s", async (path) => {
    const answered = await call("OPTIONS", real(path));
    expect({ status: answered.status, text: answered.text }).toEqual({ status: 204, text: "" });
    expect(answered.headers.get("allow")).toMatch(/GET|POST/);
  });

  it.each(["/nowhere", "/chats/x/y/z", "/api", "/api/chat", "/health/nothing", "/.env", "/%2e%2e/etc/passwd"])(
    "that do not exist are 404: %s",
    async (path) => {
      for (const method of ["GET", "POST", "OPTIONS"]) {
        expectProblem(await call(method, path, method === "POST" ? {} : undefined), 404, "not_found");
      }
    },
  );

  const malformed = ["nope", "1", `${NOBODY}0`, NOBODY.replaceAll("-", ""), "%00", "%E0%A4%A", "' or 1=1", "null"];
  it.each(malformed)("with a malformed id are 422: %s", async (bad) => {
    const seen = [
      await call("GET", `/chats/${bad}`),
      await call("GET", `/chats/${bad}/messages`),
      await call("PATCH", `/chats/${bad}`, { title: "x" }),
      await call("DELETE", `/chats/${bad}`),
      await call("GET", `/api/chat/conversations/${bad}`),
      await call("POST", "/chat", { chat_id: bad, message: "x" }),
      await call("POST", "/api/chat/send", { conversation_id: bad, message: "x" }),
    ];
    for (const refused of seen) expectProblem(refused, 422, "validation_failed");
  });

  it.each([NOBODY, "00000000-0000-0000-0000-000000000000", "F47AC10B-58CC-4372-A567-0E02B2C3D479"])(
    "with an id that nothing has are 404, whatever its version: %s",
    async (unknown) => {
      const seen = [
        await call("GET", `/chats/${unknown}`),
        await call("GET", `/chats/${unknown}/messages`),
        await call("PATCH", `/chats/${unknown}`, { title: "x" }),
        await call("DELETE", `/chats/${unknown}`),
        await call("GET", `/api/chat/conversations/${unknown}`),
        await call("POST", "/chat", { chat_id: unknown, message: "x" }),
        await call("POST", "/api/chat/send", { conversation_id: unknown, message: "x" }),
      ];
      for (const refused of seen) expectProblem(refused, 404, "not_found");
    },
  );

  it("take an id in upper case for the same", async () => {
    const upper = id.toUpperCase();
    expect((await call("GET", `/chats/${upper}`)).json).toMatchObject({ id, title: "Paths" });
    expect((await call("POST", "/chat", { chat_id: upper, message: "x" })).json.chat_id).toBe(id);
    expect((await call("POST", "/api/chat/send", { conversation_id: upper, message: "x" })).json.conversation_id).toBe(
      id,
    );
    expect((await call("GET", `/chats/${upper}/messages`)).json).toMatchObject(Array(4).fill({ chat_id: id }));
  });

  declares(parts);
});

it("a closed service answers OPTIONS without a token", async () => {
  const app = await startHttp({ DATABASE_URL: ":memory:", JWT_SECRET: SECRET });
  expect((await app.call("OPTIONS", "/chats")).status).toBe(204);
  await app.stop();
});
