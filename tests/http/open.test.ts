import { describe, expect, it } from "vitest";
import type { Called } from "../support/app.ts";
import { databases } from "../support/databases.ts";
import { expectProblem } from "../support/http-expect.ts";
import { declares, useApp } from "../support/http-setup.ts";

describe.each(databases)("an open service on $database", ({ fresh }) => {
  const parts = useApp({}, fresh);
  const call: typeof parts.app.call = (...args) => parts.app.call(...args);
  const from = (user: string) => ({ "x-user-id": user });
  const make = async (user_id: string): Promise<string> => (await call("POST", "/chats", { user_id })).json.id;
  const owner = async (id: string) => (await call("GET", `/chats/${id}`)).json.user_id;

  it("takes the user from the body, else from X-User-Id, else anonymous, when it makes a conversation", async () => {
    const made = async (body: object, headers = {}) => (await call("POST", "/chats", body, headers)).json.user_id;
    expect(await made({ user_id: "ann" }, from("bob"))).toBe("ann");
    expect(await made({}, from("bob"))).toBe("bob");
    expect(await made({})).toBe("anonymous");
    const sent = async (body: object, headers = {}) =>
      owner((await call("POST", "/api/chat/send", { message: "x", ...body }, headers)).json.conversation_id);
    expect(await sent({ user_id: "ann" }, from("bob"))).toBe("ann");
    expect(await sent({}, from("bob"))).toBe("bob");
    expect(await sent({})).toBe("anonymous");
  });

  it("takes the user from the query, else from X-User-Id, else anonymous, when it lists", async () => {
    const [eve, fay] = [await make("eve"), await make("fay")];
    const mine = (await call("POST", "/chats")).json.id;
    for (const [path, rows] of [
      ["/chats", "chats"],
      ["/api/chat/conversations", "conversations"],
    ] as const) {
      const list = async (query: string, headers = {}): Promise<string[]> =>
        (await call("GET", path + query, undefined, headers)).json[rows].map(({ id }: { id: string }) => id);
      expect(await list("?user_id=eve", from("fay"))).toEqual([eve]);
      expect(await list("", from("fay"))).toEqual([fay]);
      expect(await list("")).toContain(mine);
      expect(await list("")).not.toContain(eve);
      expect(await list("?user_id=anonymous")).toEqual(await list(""));
    }
  });

  it("counts a user's own alone", async () => {
    await make("gus");
    expect((await call("GET", "/chats?user_id=gus")).json).toMatchObject({ total: 1 });
  });

  /** Every route that reaches for one conversation, in the name of a user, or of nobody. */
  const reaching: [string, (id: string, user?: string) => Promise<Called>][] = [
    ["GET /chats/{chat_id}", (id, user) => call("GET", `/chats/${id}${named(user)}`)],
    ["GET /chats/{chat_id}/messages", (id, user) => call("GET", `/chats/${id}/messages${named(user)}`)],
    ["GET /api/chat/conversations/{id}", (id, user) => call("GET", `/api/chat/conversations/${id}${named(user)}`)],
    ["PATCH /chats/{chat_id}", (id, user) => call("PATCH", `/chats/${id}${named(user)}`, { title: "x" })],
    ["POST /chat", (id, user) => call("POST", "/chat", { chat_id: id, message: "x", user_id: user })],
    [
      "POST /api/chat/send",
      (id, user) => call("POST", "/api/chat/send", { conversation_id: id, message: "x", user_id: user }),
    ],
    ["DELETE /chats/{chat_id}", (id, user) => call("DELETE", `/chats/${id}${named(user)}`)],
  ];
  const named = (user?: string) => (user === undefined ? "" : `?user_id=${user}`);

  it.each(reaching)(
    "reaches anybody's without a user, its owner's with it, and none with another: %s",
    async (_, reach) => {
      const [id, other] = [await make("hal"), await make("hal")];
      const before = (await call("GET", `/chats/${id}`)).json;
      const asked = parts.provider.asked.length;
      expectProblem(await reach(id, "ida"), 404, "not_found");
      expect((await call("GET", `/chats/${id}`)).json).toEqual(before);
      expect(parts.provider.asked).toHaveLength(asked);
      expect((await reach(id, "hal")).status).toBeLessThan(300);
      expect((await reach(other)).status).toBeLessThan(300);
    },
  );

  it("keeps a conversation its owner's, whoever writes in it", async () => {
    const id = await make("joy");
    await call("POST", "/chat", { chat_id: id, message: "x" });
    expect(await owner(id)).toBe("joy");
    expect((await call("GET", "/chats?user_id=joy")).json.chats).toMatchObject([{ id, message_count: 2 }]);
  });

  it("takes X-User-Id for the user whose conversation it is, too", async () => {
    const id = await make("kim");
    expect((await call("GET", `/chats/${id}`, undefined, from("kim"))).status).toBe(200);
    expectProblem(await call("GET", `/chats/${id}`, undefined, from("lee")), 404, "not_found");
    expect((await call("GET", `/chats/${id}?user_id=kim`, undefined, from("lee"))).status).toBe(200);
  });

  it("refuses a body that names another user than the query", async () => {
    expectProblem(await call("POST", "/chats?user_id=pia", { user_id: "quy" }), 403, "forbidden");
    expect((await call("POST", "/chats?user_id=pia", { user_id: "pia" })).status).toBe(201);
  });

  // "user_id is optional everywhere", in "body or query": whichever of the two a caller chooses.
  it("takes a user_id in the query of a route that has a body, and in the body of one that has a query", async () => {
    expect((await call("POST", "/chats?user_id=mia", {})).json.user_id).toBe("mia");
    const id = await make("mia");
    expectProblem(await call("PATCH", `/chats/${id}`, { title: "x", user_id: "noa" }), 404, "not_found");
    expectProblem(await call("POST", "/chat?user_id=noa", { chat_id: id, message: "x" }), 404, "not_found");
  });

  it("refuses an X-User-Id that is too long", async () => {
    expectProblem(await call("GET", "/chats", undefined, from("x".repeat(256))), 422, "validation_failed");
    expect((await call("GET", "/chats", undefined, from("x".repeat(255)))).status).toBe(200);
  });

  declares(parts);
});

describe("an open service", () => {
  const parts = useApp();
  const at = (host: string) => parts.app.call("GET", "/chats", undefined, { host });

  it.each(["localhost", "localhost:8000", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:8000", "[::1]", "[::1]:8000"])(
    "answers at %s",
    async (host) => expect((await at(host)).status).toBe(200),
  );

  it.each([
    "evil.example.com",
    "evil.example.com:8000",
    "localhost.evil.com",
    "127.0.0.1.evil.com",
    "evil.com:127.0.0.1",
    "0.0.0.0:8000",
    "192.168.1.10",
    "[::]",
    "[::2]:8000",
    "x@localhost.evil.com",
  ])("does not answer at %s", async (host) => {
    expectProblem(await at(host), 403, "forbidden");
    const sent = await parts.app.call("POST", "/api/chat/send", { message: "x" }, { host });
    expectProblem(sent, 403, "forbidden");
    expectProblem(await parts.app.call("GET", "/health", undefined, { host }), 403, "forbidden");
    expect(parts.provider.asked).toEqual([]);
  });

  declares(parts);
});

/** What browsers say of a request that a page of another site made them send, with a body and without. */
const foreign: [string, Record<string, string>][] = [
  ["another site", { "sec-fetch-site": "cross-site", origin: "http://evil.example" }],
  ["another site, in a browser without Sec-Fetch-Site", { origin: "http://evil.example" }],
  ["another site, without an Origin", { "sec-fetch-site": "cross-site" }],
  ["another port", { "sec-fetch-site": "same-site", origin: "http://localhost:3000" }],
  ["another port, in a browser without Sec-Fetch-Site", { origin: "http://localhost:3000" }],
  ["a page without an origin of its own", { origin: "null" }],
];
const own: [string, Record<string, string>][] = [
  ["no browser", {}],
  ["its own documentation", { "sec-fetch-site": "same-origin", origin: "http://localhost:8000" }],
  ["its own documentation, in a browser without Sec-Fetch-Site", { origin: "http://localhost:8000" }],
  ["its own documentation, behind a proxy", { "sec-fetch-site": "same-origin", origin: "https://chat.example" }],
  ["a person", { "sec-fetch-site": "none" }],
];

describe("an open service, asked by a web page", () => {
  const parts = useApp({ ALLOWED_ORIGINS: "https://app.example" });
  const host = { host: "localhost:8000" };
  const call = (method: string, path: string, body?: unknown, headers = {}) =>
    parts.app.call(method, path, body, { ...host, ...headers });
  const chats = async (): Promise<number> => (await call("GET", "/chats")).json.total;

  it.each(foreign)("lets %s change nothing", async (_, from) => {
    const { id } = (await call("POST", "/chats", {})).json;
    const before = await chats();
    for (const [method, path, body] of [
      ["POST", "/chats", undefined],
      ["POST", "/chats", {}],
      ["POST", "/conversations", undefined],
      ["POST", "/api/v1/chats", undefined],
      ["POST", "/api/v1/sessions?user_id=ann", undefined],
      ["POST", `/api/v1/sessions/${id}/end`, undefined],
      ["POST", "/api/chat/send", { message: "x" }],
      ["PATCH", `/chats/${id}`, { title: "x" }],
      ["DELETE", `/chats/${id}`, undefined],
    ] as const) {
      const called = await call(method, path, body, from);
      expectProblem(called, 403, "forbidden");
      expect(called.json.detail).toContain("ALLOWED_ORIGINS");
    }
    expect(await chats()).toBe(before);
    expect(parts.provider.asked).toEqual([]);
    expect((await call("GET", "/chats", undefined, from)).status).toBe(200); // which the page is not shown
  });

  it.each(own)("lets %s change what it likes", async (_, from) => {
    expect((await call("POST", "/chats", undefined, from)).status).toBe(201);
    expect((await call("POST", "/chats", {}, from)).status).toBe(201);
  });

  it("lets a page of a listed origin change what it likes", async () => {
    const from = { "sec-fetch-site": "cross-site", origin: "https://app.example" };
    expect((await call("POST", "/chats", {}, from)).status).toBe(201);
  });

  declares(parts);
});

describe("an open service with ALLOW_OPEN=true", () => {
  const parts = useApp({ ALLOW_OPEN: "true" });

  it.each(foreign)("lets %s change nothing", async (_, from) => {
    const called = await parts.app.call("POST", "/chats", undefined, { host: "chat.example", ...from });
    expectProblem(called, 403, "forbidden");
  });

  it.each(["localhost", "evil.example.com", "192.168.1.10:8000"])("answers at %s", async (host) => {
    expect((await parts.app.call("GET", "/chats", undefined, { host })).status).toBe(200);
  });
});

describe("a service that was open", () => {
  const parts = useApp({ JWT_SECRET: "a secret of more than thirty-two bytes" });

  it("answers at any host once it is closed", async () => {
    const called = await parts.app.call("GET", "/health", undefined, { host: "chat.example.com" });
    expect(called.status).toBe(200);
  });
});

describe("an open service with Stream Chat", () => {
  const parts = useApp({ STREAM_API_KEY: "key", STREAM_SECRET: "secret" });

  it.each(foreign)("asks a webhook for its signature, not where it comes from: %s", async (_, from) => {
    const called = await parts.app.call("POST", "/webhooks/stream", { type: "message.new" }, from);
    expectProblem(called, 401, "unauthorized");
  });

  declares(parts);
});
