import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { expectProblem, nextLink, PATIENT, time, uuid } from "../support/http-expect.ts";
import { allWorlds, type Message, pairsOf, sendUntilRoom } from "../support/http-worlds.ts";
import { type Provider, startProvider } from "../support/provider.ts";
import { type Service, startService } from "../support/service.ts";

describe.each(allWorlds)("on $runtime with $database", ({ runtime, fresh }) => {
  let provider: Provider;
  let service: Service;
  beforeAll(async () => {
    provider = await startProvider();
    service = await startService(runtime, {
      DATABASE_URL: await fresh(),
      OPENAI_BASE_URL: provider.openaiUrl,
      MAX_BODY_BYTES: "10000",
    });
  });
  beforeEach(() => provider.behave(() => ({})));
  afterAll(async () => {
    await service?.end("SIGKILL");
    await provider?.close();
  });
  const call: Service["call"] = (...args) => service.call(...args);
  const messagesOf = async (id: string): Promise<Message[]> => (await call("GET", `/chats/${id}/messages`)).json;

  it("a user's conversations are one story, told on two surfaces", async () => {
    const user_id = "ann";
    const chat = (await call("POST", "/chats", { user_id })).json;
    expect(chat).toMatchObject({ user_id, title: null, message_count: 0 });
    const one = await call("POST", "/chat", { chat_id: chat.id, user_id, message: "Where is Lisbon?" });
    expect(one.json).toMatchObject({ reply: "Echo: Where is Lisbon?", model: "openai/local-model", turn_id: uuid });
    const two = await call("POST", "/api/chat/send", { conversation_id: chat.id, user_id, message: "And Porto?" });
    expect(two.json).toMatchObject({ conversation_id: chat.id, message: "Echo: And Porto?", timestamp: time });
    const other = await call("POST", "/api/chat/send", { user_id, message: "Another matter" });
    const otherId = other.json.conversation_id;

    const chats = await call("GET", `/chats?user_id=${user_id}`);
    expect(chats.json).toMatchObject({
      chats: [
        { id: otherId, title: "Another matter", message_count: 2 },
        { id: chat.id, title: "Where is Lisbon?", message_count: 4 },
      ],
      total: 2,
      next_cursor: null,
    });
    const conversations = await call("GET", `/api/chat/conversations?user_id=${user_id}`);
    expect(conversations.json.conversations).toMatchObject([
      { id: otherId, title: "Another matter", last_message: "Echo: Another matter" },
      { id: chat.id, title: "Where is Lisbon?", last_message: "Echo: And Porto?" },
    ]);
    const said = ["Where is Lisbon?", "Echo: Where is Lisbon?", "And Porto?", "Echo: And Porto?"];
    expect((await messagesOf(chat.id)).map(({ content }) => content)).toEqual(said);
    const whole = await call("GET", `/api/chat/conversations/${chat.id}?user_id=${user_id}`);
    expect(whole.json.messages.map(({ content }: Message) => content)).toEqual(said);
    expect(provider.asked.at(-2)?.body.messages.map(({ content }) => content)).toEqual(said.slice(0, 3));

    const newest = await call("GET", `/chats/${chat.id}/messages?limit=3`);
    expect((await call("GET", nextLink(newest) ?? "")).json).toMatchObject([{ content: said[0] }]);

    await call("PATCH", `/chats/${chat.id}`, { title: "Portugal" });
    const renamed = await call("GET", `/api/chat/conversations?user_id=${user_id}`);
    expect(renamed.json.conversations[0]).toMatchObject({ id: chat.id, title: "Portugal" });
    expect((await call("DELETE", `/chats/${otherId}`)).status).toBe(204);
    expectProblem(await call("GET", `/api/chat/conversations/${otherId}`), 404, "not_found");
    expect((await call("GET", `/chats?user_id=${user_id}`)).json).toMatchObject({ total: 1 });
  });

  it("20 conversations at once do not get in each other's way", async () => {
    const ids = await Promise.all(
      Array.from({ length: 20 }, async (_, i) => {
        const first = await call("POST", "/api/chat/send", { user_id: "crowd", message: `first of ${i}` });
        const chat_id: string = first.json.conversation_id;
        const second = await call("POST", "/chat", { chat_id, message: `second of ${i}` });
        expect([first.json.message, second.json.reply]).toEqual([`Echo: first of ${i}`, `Echo: second of ${i}`]);
        return chat_id;
      }),
    );
    expect((await call("GET", "/chats?user_id=crowd")).json.total).toBe(20);
    for (const [i, id] of ids.entries()) {
      expect(pairsOf(await messagesOf(id))).toEqual([
        [`first of ${i}`, `Echo: first of ${i}`],
        [`second of ${i}`, `Echo: second of ${i}`],
      ]);
    }
  });

  it("40 messages at once to one conversation are each answered once, question and answer in turn", async () => {
    const { id } = (await call("POST", "/chats")).json;
    const asked = provider.asked.length;
    const contents = Array.from({ length: 40 }, (_, i) => `message ${i}`);
    const sent = await Promise.all(contents.map((message) => sendUntilRoom(service, id, message)));
    expect(sent.map(({ status, json }) => [status, json.reply])).toEqual(
      contents.map((text) => [200, `Echo: ${text}`]),
    );
    expect(provider.asked).toHaveLength(asked + 40);
    const listed = await messagesOf(id);
    expect(listed.map(({ role }) => role)).toEqual(contents.flatMap(() => ["user", "assistant"]));
    expect(pairsOf(listed).sort()).toEqual(contents.map((text) => [text, `Echo: ${text}`]).sort());
    const answers = new Map(sent.map(({ json }) => [json.message_id, json.reply]));
    expect(listed.filter(({ id }) => answers.has(id)).map(({ id, content }) => content === answers.get(id))).toEqual(
      Array(40).fill(true),
    );
    expect((await call("GET", `/chats/${id}`)).json.message_count).toBe(80);
  });

  it("a client that leaves in the middle of a turn finds its answer later, made once", async () => {
    provider.behave(() => ({ headersAfter: 300 }));
    const { id } = (await call("POST", "/chats")).json;
    const asked = provider.asked.length;
    const client = new AbortController();
    const sent = fetch(`${service.url}/chat`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ chat_id: id, message: "are you there?" }),
      signal: client.signal,
    });
    await expect.poll(provider.busy, PATIENT).toBe(1);
    client.abort();
    await expect(sent).rejects.toThrow();
    await expect.poll(async () => (await messagesOf(id)).length, PATIENT).toBe(2);
    expect(pairsOf(await messagesOf(id))).toEqual([["are you there?", "Echo: are you there?"]]);
    expect(provider.asked).toHaveLength(asked + 1);
  });

  it("a body that turns out too large is refused, and the service goes on", async () => {
    const parts = Array.from({ length: 11 }, () => "x".repeat(1000));
    const body = new ReadableStream({
      pull(controller) {
        const part = parts.pop();
        if (part === undefined) controller.close();
        else controller.enqueue(new TextEncoder().encode(part));
      },
    });
    const init = { method: "POST", headers: { "content-type": "application/json" }, body, duplex: "half" as const };
    const refused = await fetch(`${service.url}/api/chat/send`, init);
    expect({ status: refused.status, json: await refused.json() }).toMatchObject({
      status: 413,
      json: { code: "payload_too_large" },
    });
    expectProblem(await call("POST", "/api/chat/send", { message: "x".repeat(10_001) }), 413, "payload_too_large");
    expect((await call("POST", "/api/chat/send", { message: "hello" })).status).toBe(200);
  });

  it("what is logged of a request is its id, route, status and time, and never what was said", async () => {
    const id = `trace-${crypto.randomUUID()}`;
    await call("POST", "/api/chat/send", { message: "a secret of the heart" }, { "x-request-id": id });
    await call("GET", "/chats/nonsense", undefined, { "x-request-id": id });
    const lines = () =>
      service.logged
        .filter((line) => line.includes(id))
        .map((line) => JSON.parse(line))
        .filter(({ msg }) => msg === "request");
    await expect.poll(() => lines().length, PATIENT).toBe(2);
    expect(lines()).toMatchObject([
      { request_id: id, route: "/api/chat/send", status: 200, ms: expect.any(Number) },
      { request_id: id, route: "/chats/:chat_id", status: 422, ms: expect.any(Number) },
    ]);
    expect(service.logged.join("\n")).not.toContain("secret of the heart");
  });
});
