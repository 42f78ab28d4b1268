import { beforeAll, describe, expect, it } from "vitest";
import { as, type Called, SECRET } from "../support/app.ts";
import { databases } from "../support/databases.ts";
import { expectProblem, NOBODY } from "../support/http-expect.ts";
import { declares, useApp } from "../support/http-setup.ts";

type Headers = Record<string, string>;

describe.each(databases)("users of a closed service on $database", ({ fresh }) => {
  const parts = useApp({ JWT_SECRET: SECRET }, fresh);
  const call: typeof parts.app.call = (...args) => parts.app.call(...args);
  let ann: Headers;
  let bob: Headers;
  let id: string;
  beforeAll(async () => {
    [ann, bob] = [await as("ann"), await as("bob")];
    id = (await call("POST", "/chats", { title: "Ann's" }, ann)).json.id;
    await call("POST", "/chat", { chat_id: id, message: "ann's words" }, ann);
  });

  /** Every route that reaches for one conversation. */
  const reaching: [string, (id: string, who: Headers, query: string) => Promise<Called>][] = [
    ["GET /chats/{chat_id}", (at, who, query) => call("GET", `/chats/${at}${query}`, undefined, who)],
    ["GET /chats/{chat_id}/messages", (at, who, query) => call("GET", `/chats/${at}/messages${query}`, undefined, who)],
    [
      "GET /api/chat/conversations/{id}",
      (at, who, query) => call("GET", `/api/chat/conversations/${at}${query}`, undefined, who),
    ],
    ["PATCH /chats/{chat_id}", (at, who, query) => call("PATCH", `/chats/${at}${query}`, { title: "Bob's" }, who)],
    ["DELETE /chats/{chat_id}", (at, who, query) => call("DELETE", `/chats/${at}${query}`, undefined, who)],
  ];
  const sending: [string, (id: string, who: Headers, more: object) => Promise<Called>][] = [
    ["POST /chat", (at, who, more) => call("POST", "/chat", { chat_id: at, message: "bob's", ...more }, who)],
    [
      "POST /api/chat/send",
      (at, who, more) => call("POST", "/api/chat/send", { conversation_id: at, message: "bob's", ...more }, who),
    ],
  ];

  const unmoved = async () => {
    expect((await call("GET", `/chats/${id}`, undefined, ann)).json).toMatchObject({
      title: "Ann's",
      message_count: 2,
    });
  };
  const body = ({ json }: Called) => ({ ...json, request_id: undefined });

  it.each(reaching)("find somebody else's as little as what is not there: %s", async (_, reach) => {
    const [foreign, unknown] = [await reach(id, bob, ""), await reach(NOBODY, bob, "")];
    expectProblem(foreign, 404, "not_found");
    expect(body(foreign)).toEqual(body(unknown));
    await unmoved();
  });

  it.each(sending)("say nothing in somebody else's, and no model hears of it: %s", async (_, send) => {
    const asked = parts.provider.asked.length;
    const [foreign, unknown] = [await send(id, bob, {}), await send(NOBODY, bob, {})];
    expectProblem(foreign, 404, "not_found");
    expect(body(foreign)).toEqual(body(unknown));
    expect(parts.provider.asked).toHaveLength(asked);
    await unmoved();
  });

  it("list their own alone, and count no others", async () => {
    const { conversation_id } = (await call("POST", "/api/chat/send", { message: "bob's words" }, bob)).json;
    const chats = await call("GET", "/chats", undefined, bob);
    expect(chats.json).toMatchObject({ chats: [{ id: conversation_id, user_id: "bob" }], total: 1, next_cursor: null });
    const conversations = await call("GET", "/api/chat/conversations", undefined, bob);
    expect(conversations.json.conversations).toMatchObject([{ id: conversation_id, title: "bob's words" }]);
    expect((await call("GET", "/chats", undefined, ann)).json).toMatchObject({ chats: [{ id }], total: 1 });
  });

  it("do not step over by a cursor that was given to somebody else", async () => {
    await call("POST", "/chats", {}, ann);
    const { next_cursor } = (await call("GET", "/chats?limit=1", undefined, ann)).json;
    const page = await call("GET", `/chats?after=${next_cursor}`, undefined, bob);
    for (const chat of page.json.chats) expect(chat.user_id).toBe("bob");
  });

  it("may not name somebody else in a query", async () => {
    const seen = [
      await call("GET", "/chats?user_id=ann", undefined, bob),
      await call("GET", "/api/chat/conversations?user_id=ann", undefined, bob),
    ];
    for (const [, reach] of reaching) seen.push(await reach(id, bob, "?user_id=ann"));
    for (const refused of seen) expectProblem(refused, 403, "forbidden");
    await unmoved();
  });

  it("may not name somebody else in a body", async () => {
    const asked = parts.provider.asked.length;
    const seen = [
      await call("POST", "/chats", { user_id: "ann" }, bob),
      await call("POST", "/api/chat/send", { message: "x", user_id: "ann" }, bob),
    ];
    for (const [, send] of sending) seen.push(await send(id, bob, { user_id: "ann" }));
    for (const refused of seen) expectProblem(refused, 403, "forbidden");
    expect(parts.provider.asked).toHaveLength(asked);
    await unmoved();
  });

  it("may name themselves", async () => {
    const own = (await call("POST", "/chats", { user_id: "ann", title: "Own" }, ann)).json;
    expect(own.user_id).toBe("ann");
    for (const [, send] of sending) expect((await send(own.id, ann, { user_id: "ann" })).status).toBe(200);
    expect((await call("GET", "/chats?user_id=ann", undefined, ann)).status).toBe(200);
    for (const [, reach] of reaching) expect((await reach(own.id, ann, "?user_id=ann")).status).toBeLessThan(300);
  });

  it("are named by an admin, who sees and may do everything", async () => {
    const admin = await as("root", "admin");
    expect((await call("GET", `/chats/${id}`, undefined, admin)).json).toMatchObject({ user_id: "ann" });
    expect((await call("GET", "/chats?user_id=ann", undefined, admin)).json.chats[0].user_id).toBe("ann");
    expect((await call("GET", "/chats", undefined, admin)).json).toMatchObject({ chats: [], total: 0 });
    expectProblem(await call("GET", `/chats/${id}?user_id=bob`, undefined, admin), 404, "not_found");
    const made = (await call("POST", "/chats", { user_id: "cara" }, admin)).json;
    expect(made.user_id).toBe("cara");
    expect((await call("POST", "/chat", { chat_id: made.id, message: "hello" }, admin)).status).toBe(200);
    expect((await call("GET", "/chats", undefined, await as("cara"))).json.chats).toMatchObject([{ message_count: 2 }]);
    expect((await call("DELETE", `/chats/${made.id}?user_id=cara`, undefined, admin)).status).toBe(204);
  });

  it("are named by an agent, who sees none of what is not live", async () => {
    const agent = await as("agent-1", "agent");
    const made = await call("POST", "/chats", { user_id: "dan" }, agent);
    expect(made.json).toMatchObject({ user_id: "dan" });
    expect((await call("GET", "/chats?user_id=dan", undefined, agent)).json).toMatchObject({ chats: [], total: 0 });
    for (const [, reach] of reaching) expectProblem(await reach(id, agent, "?user_id=ann"), 404, "not_found");
    for (const [, send] of sending) expectProblem(await send(id, agent, { user_id: "ann" }), 404, "not_found");
    await unmoved();
  });

  declares(parts);
});
