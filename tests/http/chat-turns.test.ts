import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { databases } from "../support/databases.ts";
import { expectProblem, PATIENT, uuid } from "../support/http-expect.ts";
import { declares, useApp } from "../support/http-setup.ts";

type Message = { id: string; role: string; content: string };

describe.each(databases)("deleting a chat whose turn runs, on $database", ({ fresh }) => {
  // What looks after lost turns every three seconds never comes: a deletion ends the turn by itself.
  beforeAll(() => void vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] }));
  const parts = useApp({}, fresh);
  afterAll(() => void vi.useRealTimers());
  const call: typeof parts.app.call = (...args) => parts.app.call(...args);

  async function sendAndStall(message: string) {
    const { provider } = parts;
    const { id } = (await call("POST", "/chats")).json;
    const before = provider.busy();
    const sent = call("POST", "/chat", { chat_id: id, message });
    await expect.poll(provider.busy, PATIENT).toBe(before + 1);
    return { id, sent };
  }

  async function deleteWhileItRuns<T>(id: string, sent: Promise<T>): Promise<T> {
    expect((await call("DELETE", `/chats/${id}`)).status).toBe(204);
    return await sent;
  }

  it("tells the waiting sender that its turn was cancelled, and closes the provider's connection", async () => {
    const { provider } = parts;
    provider.behave(() => ({ headersAfter: Number.POSITIVE_INFINITY }));
    const left = provider.left();
    const { id, sent } = await sendAndStall("hello");
    const refused = await deleteWhileItRuns(id, sent);
    expectProblem(refused, 409, "turn_cancelled");
    expect(refused.json.turn_id).toEqual(uuid);
    await expect.poll(provider.left, PATIENT).toBe(left + 1);
    expect(provider.busy()).toBe(0);
    expectProblem(await call("GET", `/chats/${id}/messages`), 404, "not_found");
  });

  it("does so in the middle of an answer, too", async () => {
    const { provider } = parts;
    provider.behave(() => ({ text: ["half ", "an "], afterwards: "stall" }));
    const left = provider.left();
    const { id, sent } = await sendAndStall("hello");
    const refused = await deleteWhileItRuns(id, sent);
    expectProblem(refused, 409, "turn_cancelled");
    expect(refused.text).not.toContain("half");
    await expect.poll(provider.left, PATIENT).toBe(left + 1);
  });

  it("tells those who wait in line, too, and asks no provider for them", async () => {
    const { provider } = parts;
    provider.behave(() => ({ headersAfter: Number.POSITIVE_INFINITY }));
    const { id, sent } = await sendAndStall("first");
    const asked = provider.asked.length;
    const inLine = ["second", "third"].map((message) => call("POST", "/chat", { chat_id: id, message }));
    await expect.poll(async () => (await call("GET", `/chats/${id}`)).json.message_count, PATIENT).toBe(3);
    const refused = await deleteWhileItRuns(id, Promise.all([sent, ...inLine]));
    for (const one of refused) expectProblem(one, 409, "turn_cancelled");
    expect(provider.asked).toHaveLength(asked);
  });

  declares(parts);
});

describe.each(databases)("messages that meet in one chat on $database", ({ fresh }) => {
  // What looks after lost turns every three seconds never comes: a deletion ends the turn by itself.
  beforeAll(() => void vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] }));
  const parts = useApp({}, fresh);
  afterAll(() => void vi.useRealTimers());
  const call: typeof parts.app.call = (...args) => parts.app.call(...args);
  const newChat = async (): Promise<string> => (await call("POST", "/chats")).json.id;
  const countOf = async (id: string) => (await call("GET", `/chats/${id}`)).json.message_count;

  it("are each answered once, question and answer in turn, each with its own answer", async () => {
    for (let round = 0; round < 8; round++) {
      const id = await newChat();
      const contents = Array.from({ length: 12 }, (_, i) => `message ${i}`);
      const sent = await Promise.all(contents.map((message) => call("POST", "/chat", { chat_id: id, message })));
      expect(sent.map(({ status, json }) => [status, json.reply])).toEqual(
        contents.map((content) => [200, `Echo: ${content}`]),
      );
      const listed: Message[] = (await call("GET", `/chats/${id}/messages`)).json;
      expect(listed.map(({ role }) => role)).toEqual(contents.flatMap(() => ["user", "assistant"]));
      const pairs = listed.flatMap(({ content }, i) => (i % 2 === 0 ? [[content, listed[i + 1]?.content]] : []));
      expect(pairs.sort()).toEqual(contents.map((content) => [content, `Echo: ${content}`]).sort());
      expect(await countOf(id)).toBe(24);
    }
  }, 10_000);

  it("wait up to 16 behind the one that is answered; the next is turned away, and not stored", async () => {
    parts.provider.behave(() => ({ headersAfter: Number.POSITIVE_INFINITY }));
    const id = await newChat();
    const sent: ReturnType<typeof call>[] = [];
    for (let i = 1; i <= 17; i++) {
      sent.push(call("POST", "/chat", { chat_id: id, message: `message ${i}` }));
      await expect.poll(() => countOf(id), PATIENT).toBe(i);
    }
    const refused = await call("POST", "/chat", { chat_id: id, message: "one too many" });
    expectProblem(refused, 429, "queue_full");
    expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(0);
    expect(refused.headers.get("ratelimit")).toBeTruthy();
    expect(await countOf(id)).toBe(17);
    await call("DELETE", `/chats/${id}`);
    for (const one of await Promise.all(sent)) expectProblem(one, 409, "turn_cancelled");
  });

  declares(parts);
});
