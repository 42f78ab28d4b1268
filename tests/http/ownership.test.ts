import { beforeAll, describe, expect, it } from "vitest";
import { as, SECRET } from "../support/app.ts";
import { databases } from "../support/databases.ts";
import { expectProblem, laterMillisecond } from "../support/http-expect.ts";
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

  it("do not step over by a cursor that was given to somebody else", async () => {
    const own = (await call("POST", "/chats", {}, bob)).json.id;
    await laterMillisecond();
    for (let i = 0; i < 2; i++) await call("POST", "/chats", {}, ann);
    const { next_cursor } = (await call("GET", "/chats?limit=1", undefined, ann)).json;
    const page = await call("GET", `/chats?after=${next_cursor}`, undefined, bob);
    expect(page.json.chats).toMatchObject([{ id: own, user_id: "bob" }]);
  });

  it("may name themselves", async () => {
    const own = (await call("POST", "/chats", { user_id: "ann", title: "Own" }, ann)).json;
    expect(own.user_id).toBe("ann");
    const naming = { user_id: "ann" };
    const sent = [
      await call("POST", "/chat", { chat_id: own.id, message: "hello", ...naming }, ann),
      await call("POST", "/api/chat/send", { conversation_id: own.id, message: "hello", ...naming }, ann),
      await call("GET", "/chats?user_id=ann", undefined, ann),
      await call("GET", `/chats/${own.id}?user_id=ann`, undefined, ann),
      await call("GET", `/api/chat/conversations/${own.id}?user_id=ann`, undefined, ann),
      await call("PATCH", `/chats/${own.id}?user_id=ann`, { title: "Own still" }, ann),
    ];
    expect(sent.map(({ status }) => status)).toEqual(sent.map(() => 200));
    expect((await call("DELETE", `/chats/${own.id}?user_id=ann`, undefined, ann)).status).toBe(204);
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
  });

  it("are asked for by an agent, who is told the same again by its key, and nothing by another", async () => {
    const agent = await as("agent-1", "agent");
    const ask = (key: string, body: object) =>
      call(
        "POST",
        "/generate-response",
        { message: "Hi", user_id: "dan", ...body },
        { ...agent, "idempotency-key": key },
      );
    const first = await ask("for-dan", {});
    expect((await ask("for-dan", {})).json).toEqual(first.json);
    expect((await ask("another", { chat_id: first.json.chat_id })).status).toBe(404);
  });

  declares(parts);
});
