import { randomUUID } from "node:crypto";
import { beforeAll, describe, expect, it } from "vitest";
import { as, type Called, SECRET } from "../support/app.ts";
import { databases } from "../support/databases.ts";
import { expectProblem, uuid } from "../support/http-expect.ts";
import { declares, useApp } from "../support/http-setup.ts";
import { framesOf } from "../support/http-stream.ts";

type Headers = Record<string, string>;
const inPath = (chat_id: string) => `/api/v1/chats/${encodeURIComponent(chat_id)}`;
const contents = ({ status, json }: Called) => {
  expect(status).toBe(200);
  return json.map(({ content }: { content: string }) => content);
};

describe.each(databases)("a chat under an id of the client's own, on $database", ({ fresh }) => {
  const parts = useApp({ JWT_SECRET: SECRET }, fresh);
  const call: typeof parts.app.call = (...args) => parts.app.call(...args);
  const people = {} as Record<"alice" | "bob" | "ann" | "root", Headers>;
  beforeAll(async () => {
    Object.assign(people, {
      ...{ alice: await as("alice"), bob: await as("bob") },
      ...{ ann: await as("ann", "agent"), root: await as("root", "admin") },
    });
  });
  const say = (who: Headers, chat_id: string, message: string, more: object = {}) =>
    call("POST", "/generate-response", { chat_id, message, ...more }, who);
  const read = (who: Headers, chat_id: string) => call("GET", inPath(chat_id), undefined, who);
  const countOf = async (who: Headers) => (await call("GET", "/chats", undefined, who)).json.total;

  it.each([
    ["a word", "test"],
    ["a UUID that nobody has", randomUUID()],
    ["what has to be escaped in a path", "a/b?c#d e%2F"],
    ["an emoji", "💬"],
    ["the longest", "x".repeat(255)],
  ])("is made the first time and goes on the second: %s", async (_, chat_id) => {
    const first = await say(people.alice, chat_id, "My dog is Rex.");
    expect(first.status).toBe(200);
    expect(first.json).toMatchObject({ response: "Echo: My dog is Rex.", chat_id, conversation_id: uuid });
    const second = await say(people.alice, chat_id, "What is he called?");
    const { conversation_id } = first.json;
    expect(second.json).toMatchObject({ chat_id, conversation_id });
    expect(parts.provider.asked.at(-1)?.body.messages).toHaveLength(3);
    const third = await call("POST", "/api/v1/chat/message", { chat_id, content: "Thanks." }, people.alice);
    expect(third.json).toMatchObject({ status: "success", chat_id, conversation_id, content: "Echo: Thanks." });
    expect(contents(await read(people.alice, chat_id))).toEqual([
      ...["My dog is Rex.", "Echo: My dog is Rex.", "What is he called?", "Echo: What is he called?"],
      ...["Thanks.", "Echo: Thanks."],
    ]);
    const chat = (await call("GET", `/chats/${conversation_id}`, undefined, people.alice)).json;
    expect(chat).toMatchObject({ id: conversation_id, title: "My dog is Rex.", message_count: 6 });
    expect(contents(await read(people.alice, conversation_id))).toHaveLength(6);
  });

  it("is one of ours, where that is what the client calls it", async () => {
    const { chat_id } = (await call("POST", "/api/v1/chats", {}, people.alice)).json;
    const shouted = chat_id.toUpperCase();
    const said = await say(people.alice, shouted, "Hello");
    expect(said.json).toMatchObject({ chat_id: shouted, conversation_id: chat_id });
  });

  it("is refused under an id that is too long, and where one is needed under none", async () => {
    const long = "x".repeat(256);
    expectProblem(await say(people.alice, long, "Hello"), 422, "validation_failed");
    for (const chat_id of [long, ""]) {
      const sent = await call("POST", "/api/v1/chat/message", { chat_id, content: "Hi" }, people.alice);
      expectProblem(sent, 422, "validation_failed");
    }
  });

  it("is a new one of ours where the id is empty", async () => {
    const said = await say(people.alice, "", "Hello");
    expect([said.status, said.json.chat_id]).toEqual([200, said.json.conversation_id]);
  });

  it("is each user's own: somebody else's id, ours or theirs, is like one that nobody has", async () => {
    const theirs = (await say(people.alice, `shared-${randomUUID()}`, "Alice's")).json;
    const shape = ({ json }: Called) => Object.keys(json);
    for (const who of [people.bob, people.ann]) {
      for (const chat_id of [theirs.chat_id, theirs.conversation_id, randomUUID()]) {
        expectProblem(await read(who, chat_id), 404, "not_found");
        expectProblem(await call("POST", "/api/v1/chat/message", { chat_id, content: "?" }, who), 404, "not_found");
        const made = await say(who, chat_id, "Mine");
        expect(made.status).toBe(200);
        expect(shape(made)).toEqual(["response", "chat_id", "conversation_id", "turn_id", "message_id", "model"]);
        expect(made.json.conversation_id).not.toBe(theirs.conversation_id);
        expect(contents(await read(who, chat_id))).toEqual(["Mine", "Echo: Mine"]);
      }
    }
    expect(contents(await read(people.alice, theirs.chat_id))).toEqual(["Alice's", "Echo: Alice's"]);
  });

  it("is not made by an agent for somebody else, known or unknown there", async () => {
    const known = (await say(people.alice, `known-${randomUUID()}`, "Hello")).json.chat_id;
    const before = await countOf(people.alice);
    const asAgent = (chat_id: string) => say(people.ann, chat_id, "Hello", { user_id: "alice" });
    const unknown = await asAgent("unknown");
    expectProblem(unknown, 404, "not_found");
    const other = await asAgent(known);
    expectProblem(other, 404, "not_found");
    expect(other.json.detail).toBe(unknown.json.detail);
    expect(await countOf(people.alice)).toBe(before);
  });

  it("is its user's for an admin that names the user, and the only one of that name for one that does not", async () => {
    const chat_id = `admin-${randomUUID()}`;
    const { conversation_id } = (await say(people.root, chat_id, "For Alice", { user_id: "alice" })).json;
    expect(contents(await read(people.alice, chat_id))).toEqual(["For Alice", "Echo: For Alice"]);
    expect(contents(await read(people.root, chat_id))).toEqual(["For Alice", "Echo: For Alice"]);
    const own = await say(people.root, chat_id, "For me");
    expect(own.json.conversation_id).not.toBe(conversation_id);
    expect(contents(await read(people.root, chat_id))).toEqual(["For me", "Echo: For me"]);
    const named = await call("GET", `${inPath(chat_id)}?user_id=alice`, undefined, people.root);
    expect(contents(named)).toEqual(["For Alice", "Echo: For Alice"]);
  });

  it("is one, however many begin it at once", async () => {
    const [chat_id, before] = [`at once ${randomUUID()}`, await countOf(people.alice)];
    const said = await Promise.all(Array.from({ length: 8 }, (_, i) => say(people.alice, chat_id, `Number ${i}`)));
    expect(new Set(said.map(({ status, json }) => `${status} ${json.conversation_id}`)).size).toBe(1);
    expect(contents(await read(people.alice, chat_id))).toHaveLength(16);
    expect(await countOf(people.alice)).toBe(before + 1);
  });

  it("leaves its id free when it is deleted", async () => {
    const first = (await say(people.alice, "for a while", "Hello")).json.conversation_id;
    expect((await call("DELETE", `/chats/${first}`, undefined, people.alice)).status).toBe(204);
    expectProblem(await read(people.alice, "for a while"), 404, "not_found");
    const again = (await say(people.alice, "for a while", "Hello again")).json.conversation_id;
    expect(again).not.toBe(first);
    expect(contents(await read(people.alice, "for a while"))).toEqual(["Hello again", "Echo: Hello again"]);
  });

  it("is begun once by one Idempotency-Key, which answers the same again", async () => {
    const keyed = { ...people.alice, "idempotency-key": randomUUID() };
    const [first, second] = await Promise.all([say(keyed, "with a key", "Once"), say(keyed, "with a key", "Once")]);
    expect(first.status).toBe(200);
    expect(second.json).toEqual(first.json);
    expect((await say(keyed, "with a key", "Once")).json).toEqual(first.json);
    expect(contents(await read(people.alice, "with a key"))).toEqual(["Once", "Echo: Once"]);
    expectProblem(await say(keyed, "with another", "Once"), 422, "idempotency_mismatch");
    await call("DELETE", `/chats/${first.json.conversation_id}`, undefined, people.alice);
    expectProblem(await say(keyed, "with a key", "Once"), 404, "not_found");
    expectProblem(await read(people.alice, "with a key"), 404, "not_found");
  });

  it("streams its answer, and says where it is", async () => {
    const streamed = await say(people.alice, "streamed", "Hello", { stream: true });
    const [started] = framesOf(streamed.text);
    expect(started).toMatchObject({ event: "turn.started", data: { conversation_id: uuid } });
    const { conversation_id } = (await say(people.alice, "streamed", "Again")).json;
    expect(started?.data.conversation_id).toBe(conversation_id);
  });

  declares(parts);
});

describe("a chat of the coaching API on an open service", () => {
  const parts = useApp();
  const call: typeof parts.app.call = (...args) => parts.app.call(...args);

  it("is polled without a word of whose it is, as the older service's client does", async () => {
    const { chat_id } = (await call("POST", "/api/v1/chats", { user_id: "carl" })).json;
    expect(contents(await call("GET", `/api/v1/chats/${chat_id}`))).toEqual([]);
    await call("POST", "/api/v1/chat/message", { chat_id, user_id: "carl", content: "I ran." });
    const { json } = await call("GET", `/api/v1/chats/${chat_id}/`);
    expect(json).toEqual([
      { role: "user", content: "I ran.", timestamp: expect.stringMatching(/^\d{4}-.*Z$/) },
      { role: "assistant", content: "Echo: I ran.", timestamp: expect.stringMatching(/^\d{4}-.*Z$/) },
    ]);
  });

  it("is found by the client's own id, unless two users have one under it", async () => {
    const begin = (user_id: string) =>
      call("POST", "/generate-response", { user_id, chat_id: "test", message: user_id });
    await begin("dora");
    expect(contents(await call("GET", "/api/v1/chats/test"))).toEqual(["dora", "Echo: dora"]);
    await begin("emil");
    expectProblem(await call("GET", "/api/v1/chats/test"), 404, "not_found");
    expect(contents(await call("GET", "/api/v1/chats/test?user_id=emil"))).toEqual(["emil", "Echo: emil"]);
  });

  it("has its newest 500 messages, and leads to older ones", async () => {
    const { id } = (await call("POST", "/api/v1/sessions", {})).json;
    const said = { sender_type: "user", sender_id: "anonymous" };
    for (let i = 0; i < 502; i++)
      await call("POST", `/api/v1/sessions/${id}/messages`, { ...said, content: `Message ${i}` });
    const page = await call("GET", `/api/v1/chats/${id}`);
    expect(contents(page)).toHaveLength(500);
    expect(page.json[0].content).toBe("Message 2");
    const [, next = ""] = /^<(.+)>; rel="next"$/.exec(page.headers.get("link") ?? "") ?? [];
    expect(contents(await call("GET", next))).toEqual(["Message 0", "Message 1"]);
  });

  declares(parts);
});
