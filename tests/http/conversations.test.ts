import { describe, expect, it } from "vitest";
import { databases } from "../support/databases.ts";
import { expectProblem, laterMillisecond, NOBODY, nextLink, uuid } from "../support/http-expect.ts";
import { declares, useApp } from "../support/http-setup.ts";

describe.each(databases)("the conversations surface on $database", ({ fresh }) => {
  const parts = useApp({}, fresh);
  const call: typeof parts.app.call = (...args) => parts.app.call(...args);
  const make = async (user = "anonymous"): Promise<string> =>
    (await call("POST", "/conversations/", { user_id: user })).json.id;
  const ask = (id: string, body: object) => call("POST", `/conversations/${id}/ask-message/`, body);

  it.each([
    ["no body", undefined],
    ["an empty one", {}],
  ])("makes an empty conversation with %s", async (_, body) => {
    const made = await call("POST", "/conversations/", body);
    expect(made.status).toBe(200);
    expect(made.json).toEqual({ id: uuid, messages: [] });
  });

  it("answers a message as chatbot", async () => {
    const id = await make();
    const asked = await ask(id, { content: "hello" });
    expect(asked.status).toBe(200);
    expect(asked.json).toMatchObject({
      id: uuid,
      conversation_id: id,
      sender: "chatbot",
      content: "Echo: hello",
      alternatives: [],
    });
    const got = await call("GET", `/conversations/${id}/`);
    expect(got.json).toMatchObject({ id, title: "hello" });
    expect(got.json.messages).toMatchObject([
      { id: uuid, conversation_id: id, sender: "user", content: "hello" },
      { id: asked.json.id, conversation_id: id, sender: "chatbot", content: "Echo: hello" },
    ]);
  });

  it("stores several answers in one go: the first in the thread, the others as alternatives", async () => {
    const id = await make();
    let count = 0;
    parts.provider.behave(() => ({ text: [`answer ${++count}`] }));
    const asked = await ask(id, { content: "several", n: 3 });
    expect(asked.status).toBe(200);
    const contents = [asked.json.content, ...asked.json.alternatives.map((one: { content: string }) => one.content)];
    expect(contents.sort()).toEqual(["answer 1", "answer 2", "answer 3"]);
    expect(new Set([asked.json.id, ...asked.json.alternatives.map((one: { id: string }) => one.id)]).size).toBe(3);
    expect((await call("GET", `/chats/${id}`)).json.message_count).toBe(2);
    const { messages } = (await call("GET", `/conversations/${id}`)).json;
    expect(messages).toMatchObject([{ content: "several" }, { content: asked.json.content }]);
    parts.provider.behave(() => ({}));
    await ask(id, { content: "next" });
    expect(parts.provider.asked.at(-1)?.body.messages.map(({ content }) => content)).toEqual([
      "several",
      asked.json.content,
      "next",
    ]);
  });

  it("gives the answers that came where some failed", async () => {
    const id = await make();
    let count = 0;
    parts.provider.behave(() => (++count === 1 ? { status: 400 } : { text: ["whole"] }));
    const asked = await ask(id, { content: "some", n: 3 });
    expect(asked.json).toMatchObject({ content: "whole", alternatives: [{ content: "whole" }] });
  });

  it("fails where all of them do, and keeps the message", async () => {
    const id = await make();
    parts.provider.behave(() => ({ status: 400 }));
    expectProblem(await ask(id, { content: "none", n: 2 }), 502, "provider_failed");
    expect((await call("GET", `/conversations/${id}`)).json.messages).toMatchObject([{ content: "none" }]);
  });

  it.each([
    { n: 0 },
    { n: 9 },
    { n: 1.5 },
    { n: "2" },
    { n: 2, stream: true },
    { content: "" },
    { content: undefined },
  ])("refuses to be asked with %j", async (wrong) => {
    expectProblem(await ask(await make(), { content: "hello", ...wrong }), 422, "validation_failed");
  });

  it("lists with skip and limit, newest first, each with its newest 20 messages", async () => {
    const ids: string[] = [];
    for (let i = 0; i < 3; i++) {
      ids.unshift(await make("lister"));
      await laterMillisecond();
    }
    const list = async (query: string) => (await call("GET", `/conversations/?user_id=lister${query}`)).json;
    expect((await list("")).map(({ id }: { id: string }) => id)).toEqual(ids);
    expect((await list("&skip=1&limit=1")).map(({ id }: { id: string }) => id)).toEqual([ids[1]]);
    expect(await list("&limit=0")).toEqual([]);
    for (let i = 0; i < 12; i++) await ask(ids[2] ?? "", { content: `m${i}`, user_id: "lister" });
    const [first] = await list("");
    expect(first).toMatchObject({ id: ids[2], title: "m0" });
    expect(first.messages.map(({ content }: { content: string }) => content)).toEqual(
      Array.from({ length: 10 }, (_, i) => [`m${i + 2}`, `Echo: m${i + 2}`]).flat(),
    );
  });

  it("shows 10 by default, and links on", async () => {
    for (let i = 0; i < 11; i++) await make("eleven");
    const page = await call("GET", "/conversations?user_id=eleven");
    expect(page.json).toHaveLength(10);
    expect((await call("GET", nextLink(page) ?? "")).json).toHaveLength(1);
  });

  it.each(["limit=1001", "limit=-1", "skip=x", "after=nonsense"])("refuses a list with ?%s", async (query) => {
    expectProblem(await call("GET", `/conversations/?${query}`), 422, "validation_failed");
  });

  it("knows nothing of an id that nothing has", async () => {
    expectProblem(await call("GET", `/conversations/${NOBODY}/`), 404, "not_found");
    expectProblem(await ask(NOBODY, { content: "hello" }), 404, "not_found");
    expectProblem(await call("GET", "/conversations/nonsense"), 422, "validation_failed");
  });

  declares(parts);
});
