import { describe, expect, it } from "vitest";
import type { Called } from "../support/app.ts";
import { databases } from "../support/databases.ts";
import { expectProblem, PATIENT } from "../support/http-expect.ts";
import { asAgent, asUser, sessionCalls } from "../support/http-sessions.ts";
import { declares, useApp } from "../support/http-setup.ts";

describe.each(databases)("a session that is not the assistant's, on $database", ({ fresh }) => {
  const parts = useApp({}, fresh);
  const { create, end, transfer, accept, patch, say, get, messages, call } = sessionCalls(parts);
  const post = (path: string, body: object, headers = {}) => parts.app.call("POST", path, body, headers);
  const user_id = "alice";
  const ann = { agent_id: "ann" };

  /** Every way to have a model answer in a conversation. */
  const WAYS: [string, (id: string, more: object) => Promise<Called>][] = [
    ["POST /chat", (chat_id, more) => post("/chat", { chat_id, message: "Psst", ...more })],
    ["POST ask-message", (id, more) => post(`/conversations/${id}/ask-message/`, { content: "Psst", ...more })],
    ["POST ask-message with n", (id) => post(`/conversations/${id}/ask-message/`, { content: "Psst", n: 2 })],
    ["POST /api/chat/send", (id, more) => post("/api/chat/send", { conversation_id: id, message: "Psst", ...more })],
    ["POST /generate-response", (chat_id, more) => post("/generate-response", { chat_id, message: "Psst", ...more })],
    [
      "POST /api/v1/chat/message",
      (chat_id, more) => post("/api/v1/chat/message", { chat_id, content: "Psst", ...more }),
    ],
    ["POST messages with reply", (id, more) => say(id, asUser("alice", "Psst", { reply: true, ...more }))],
    ["POST regenerate", async (id) => call("POST", `/messages/${await answerOf(id)}/regenerate`)],
    [
      "POST regenerate as a stream",
      async (id) => call("POST", `/messages/${await answerOf(id)}/regenerate`, { stream: true }),
    ],
  ];
  const answerOf = async (id: string): Promise<string> =>
    (await messages(id)).findLast((one: { sender_type: string }) => one.sender_type === "assistant").id;

  /** How it gets there, from a session that the assistant has answered in. */
  const STATES: [string, string, (id: string) => Promise<unknown>][] = [
    ["waits for an agent", "session_with_agent", (id) => transfer(id, { to: "agent" })],
    ["was handed to an agent", "session_with_agent", (id) => patch(id, ann)],
    [
      "was accepted by an agent",
      "session_with_agent",
      async (id) => [await transfer(id, { to: "agent" }), await accept(id, {}, ann)],
    ],
    ["has ended", "session_ended", (id) => end(id)],
  ];

  const answered = async () => {
    const { id } = await create({}, { user_id });
    expect((await post("/chat", { chat_id: id, message: "Hello" })).status).toBe(200);
    return id as string;
  };
  const asked = () => parts.provider.asked.length;

  describe.each(STATES)("since it %s", (_, code, lead) => {
    it.each(WAYS)("is answered by no model: %s", async (_, send) => {
      const id = await answered();
      await lead(id);
      const before = [asked(), (await get(id)).json];
      for (const more of [{}, { stream: true }, { if_busy: "interrupt" }, { if_busy: "reject" }]) {
        expectProblem(await send(id, more), 409, code);
      }
      expect([asked(), (await get(id)).json]).toEqual(before);
    });

    it("is not answered by the key of a question that had failed", async () => {
      const id = await answered();
      parts.provider.behave(() => ({ status: 400, error: { error: { message: "no" } } }));
      const key = { "idempotency-key": `again ${id}`.replace(" ", "-") };
      const send = () => post("/chat", { chat_id: id, message: "Why?" }, key);
      expect((await send()).status).toBe(502);
      parts.provider.behave(() => ({}));
      await lead(id);
      const before = asked();
      expectProblem(await send(), 409, code);
      expect(asked()).toBe(before);
    });

    it("was left by its running turn and those in line, in the same step", async () => {
      const id = (await create({}, { user_id })).id as string;
      const gate = Promise.withResolvers<void>();
      parts.provider.behave(() => ({
        text: ["Once upon", " a time"],
        before: (i) => (i === 1 ? gate.promise : Promise.resolve()),
      }));
      const before = [asked(), parts.provider.left()] as const;
      const running = post("/chat", { chat_id: id, message: "Tell me a story." });
      await expect.poll(asked, PATIENT).toBe(before[0] + 1);
      const key = { "idempotency-key": `line-${id}` };
      const inLine = () => post("/chat", { chat_id: id, message: "And another." }, key);
      const waiting = inLine();
      await expect.poll(async () => (await get(id)).json.message_count, PATIENT).toBe(2);
      const turn = await textOf(id, "Once upon");
      await lead(id);
      for (const one of [await running, await waiting, await inLine()]) expectProblem(one, 409, "turn_cancelled");
      await expect.poll(parts.provider.left, PATIENT).toBe(before[1] + 1);
      gate.resolve();
      expect(asked()).toBe(before[0] + 1);
      const [question, answer, next] = await messages(id);
      expect([question.content, next.content]).toEqual(["Tell me a story.", "And another."]);
      expect(answer).toMatchObject({ id: turn, content: "Once upon", status: "incomplete" });
    });

    /** The running answer, once so much of it has come. */
    async function textOf(id: string, text: string): Promise<string> {
      const running = (await messages(id))[1];
      const { turn_id } = running;
      const response = await parts.app.parley.app.request(`/api/v1/turns/${turn_id}/stream`);
      const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
      let seen = "";
      while (!seen.includes(text)) seen += (await reader?.read())?.value ?? "";
      await reader?.cancel();
      return running.id;
    }
  });

  it("is the assistant's again once it is handed back, which has the agent's words in view, and no notes", async () => {
    const id = await answered();
    await transfer(id, { to: "agent", agent_id: "ann" });
    await say(id, asAgent("ann", "I gave you a refund."));
    expect((await transfer(id, { to: "assistant" })).json).toMatchObject({ control: "assistant", agent_id: null });
    expect((await post("/chat", { chat_id: id, message: "What did she do?" })).status).toBe(200);
    const shown = parts.provider.asked.at(-1)?.body.messages ?? [];
    expect(shown.map(({ role }) => role)).toEqual(["user", "assistant", "user"]);
    expect(shown[1]?.content).toContain("ann: I gave you a refund.");
    expect(JSON.stringify(shown)).not.toMatch(/handed|taken over/);
  });

  it("takes what people say to each other, without a model", async () => {
    const id = await answered();
    await transfer(id, { to: "agent" });
    const before = asked();
    expect((await say(id, asUser("alice", "Is anybody there?"))).status).toBe(201);
    await accept(id, {}, ann);
    expect((await say(id, asAgent("ann", "I am."))).status).toBe(201);
    expect(asked()).toBe(before);
  });

  it("once it has ended is read, marked as read and deleted, and no more", async () => {
    const id = await answered();
    const { id: message } = (
      await say(id, asUser("alice", "Bye", { extensions: [{ extension_type: "note", data: {} }] }))
    ).json;
    await end(id);
    const writes = [
      await say(id, asUser("alice", "More")),
      await call("PATCH", `/messages/${message}`, { content: "Good bye" }),
      await call("DELETE", `/messages/${message}`),
      await call("POST", `/messages/${message}/extensions`, { extension_type: "note", data: {} }),
      await call("POST", `/sessions/${id}/typing`, { sender_id: "alice", typing: true }),
      await patch(id, { metadata: { a: 1 } }),
      await patch(id, {}),
      await parts.app.call("PATCH", `/chats/${id}`, { title: "New" }),
      await transfer(id, { to: "agent" }),
      await transfer(id, { to: "assistant" }),
      await accept(id),
      await patch(id, ann),
      await patch(id, { status: "active" }),
    ];
    for (const write of writes) expectProblem(write, 409, "session_ended");
    const reads = [
      await get(id),
      await call("GET", `/sessions/${id}/messages`),
      await call("GET", `/sessions/${id}/transcript`),
      await call("GET", `/messages/${message}`),
      await parts.app.call("GET", `/chats/${id}/messages`),
      await end(id),
      await patch(id, { status: "ended" }),
    ];
    for (const read of reads) expect(read.status).toBe(200);
    expect((await call("POST", `/sessions/${id}/read`, { seq: 2 })).status).toBe(204);
    expect((await parts.app.call("DELETE", `/chats/${id}`)).status).toBe(204);
    expectProblem(await get(id), 404, "not_found");
  });

  declares(parts);
});
