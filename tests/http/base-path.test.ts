import { describe, expect, it } from "vitest";
import { as, SECRET } from "../support/app.ts";
import { expectProblem } from "../support/http-expect.ts";
import { useApp } from "../support/http-setup.ts";

describe.each([
  ["keeps", "/chat-api"],
  ["takes off", ""],
])("a service with BASE_PATH behind a proxy that %s the path", (_, prefix) => {
  const parts = useApp({ BASE_PATH: "/chat-api/", JWT_SECRET: SECRET });
  const call = async (method: string, path: string, body?: unknown) =>
    parts.app.call(method, prefix + path, body, await as("alice"));

  it("answers every surface, with a slash at the end of the path or without", async () => {
    const { id } = (await call("POST", "/chats", {})).json;
    expect((await call("POST", "/chat/", { chat_id: id, message: "Hello" })).json).toMatchObject({ chat_id: id });
    expect((await call("GET", `/chats/${id}`)).json).toMatchObject({ id, message_count: 2 });
    expect((await call("HEAD", `/chats/${id}`)).status).toBe(200);
  });

  it("leads to the next page where the client finds it", async () => {
    for (let i = 0; i < 3; i++) await call("POST", "/conversations", {});
    const page = await call("GET", "/conversations?limit=1");
    expect(page.headers.get("link")).toMatch(/^<\/chat-api\/conversations\?limit=1&after=[\w-]+>; rel="next"$/);
  });

  it("says in its document and at its root where it is", async () => {
    const document = (await call("GET", "/openapi.json")).json;
    expect(document.servers).toEqual([{ url: "/chat-api" }]);
    expect(Object.keys(document.paths)).toContain("/chats/{chat_id}");
    for (const slash of ["/", ...(prefix ? [""] : [])]) {
      expect((await call("GET", slash)).json).toMatchObject({ docs: "/chat-api/docs" });
    }
  });

  it.each(["/health", "/health/ready", "/docs", "/openapi.json"])("%s needs no token there", async (path) => {
    expect((await parts.app.request(prefix + path, {})).status).toBe(200);
  });

  it("asks for a token everywhere else, and knows what is not there", async () => {
    expectProblem(await parts.app.request(`${prefix}/chats`, {}), 401, "unauthorized");
    expectProblem(await call("GET", "/chat-apis/chats"), 404, "not_found");
    expectProblem(await call("GET", "/chat-api/chat-api/chats"), 404, "not_found");
    const wrong = await call("PUT", "/chats");
    expectProblem(wrong, 405, "method_not_allowed");
    expect(wrong.headers.get("allow")).toContain("GET");
  });
});
