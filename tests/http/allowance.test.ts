import { describe, expect, it } from "vitest";
import { as, SECRET } from "../support/app.ts";
import { databases } from "../support/databases.ts";
import { expectProblem, PATIENT } from "../support/http-expect.ts";
import { declares, useApp } from "../support/http-setup.ts";

type Headers = Record<string, string>;

let users = 0;
const newUser = () => as(`allowed-${++users}`);
const untilMidnightS = () => Math.ceil(86_400 - ((Date.now() / 1000) % 86_400));

describe.each(databases)("what one user may take, on $database,", ({ fresh }) => {
  // Whatever a turn used, it was all there is for the day.
  const limits = { MAX_TURNS_PER_USER: "2", DAILY_TOKENS_PER_USER: "1", RATE_LIMIT: "off" };
  const parts = useApp({ JWT_SECRET: SECRET, ...limits }, fresh);
  const call = (who: Headers, method: string, path: string, body?: unknown, more: Headers = {}) =>
    parts.app.call(method, path, body, { ...who, ...more });
  const newChat = async (who: Headers): Promise<string> => (await call(who, "POST", "/chats", {})).json.id;
  const stalls = () => parts.provider.behave(() => ({ text: ["Half"], afterwards: "stall" }));

  /** Sends without waiting for the answer; gives the turn's id once it runs. */
  async function leaveRunning(who: Headers): Promise<{ turn: string; chat: string }> {
    const chat_id = await newChat(who);
    const init = { method: "POST", headers: { ...who, "content-type": "application/json" } };
    const body = JSON.stringify({ chat_id, message: "Hello", stream: true });
    const response = await parts.app.parley.app.request("/chat", { ...init, body });
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    while (!text.includes("message.delta")) text += (await reader?.read())?.value ?? "";
    await reader?.cancel();
    return { turn: /"turn_id":"([^"]+)"/.exec(text)?.[1] ?? "", chat: chat_id };
  }

  it("is so many open turns, over whatever route: the next is a 429, nothing is stored and nobody asked", async () => {
    stalls();
    const who = await newUser();
    const open = [await leaveRunning(who), await leaveRunning(who)];
    const chat_id = await newChat(who);
    const asked = parts.provider.asked.length;
    for (const [path, body] of [
      ["/chat", { chat_id, message: "Hello" }],
      ["/chat", { chat_id, message: "Hello", stream: true }],
      ["/chat", { chat_id, message: "Hello", if_busy: "reject" }],
      ["/api/chat/send", { message: "Hello" }],
      ["/generate-response", { message: "Hello" }],
      ["/api/v1/chat/message", { chat_id, content: "Hello" }],
      [`/conversations/${chat_id}/ask-message`, { content: "Hello", n: 2 }],
    ] as const) {
      const refused = await call(who, "POST", path, body);
      expectProblem(refused, 429, "rate_limited");
      expect(refused.headers.get("retry-after")).toBe("1");
      expect(refused.headers.get("ratelimit-policy")).toBe('"turns";q=2');
      expect(refused.headers.get("ratelimit")).toBe('"turns";r=0;t=1');
    }
    expect((await call(who, "GET", `/chats/${chat_id}`)).json.message_count).toBe(0);
    expect((await call(who, "GET", "/chats")).json.total).toBe(3);
    expect(parts.provider.asked).toHaveLength(asked);

    const admin = await as("root", "admin");
    expectProblem(await call(admin, "POST", "/chat", { chat_id, message: "Hello" }), 429, "rate_limited");
    parts.provider.behave(() => ({}));
    expect((await call(await newUser(), "POST", "/api/chat/send", { message: "Hello" })).status).toBe(200);
    for (const { turn } of open) expect((await call(who, "POST", `/api/v1/turns/${turn}/cancel`)).status).toBe(200);
  });

  it("is so many tokens a day: then it is a 429 until midnight UTC, nothing is stored and nobody asked", async () => {
    const who = await newUser();
    const sent = await call(who, "POST", "/generate-response", { message: "Hello" });
    expect(sent.status).toBe(200);
    const { chat_id, message_id } = sent.json;
    const asked = parts.provider.asked.length;
    for (const [path, body] of [
      ["/chat", { chat_id, message: "More" }],
      ["/api/chat/send", { message: "More", stream: true }],
      ["/api/v1/chat/message", { chat_id, content: "More" }],
      [`/api/v1/messages/${message_id}/regenerate`, {}],
    ] as const) {
      const before = untilMidnightS();
      const refused = await call(who, "POST", path, body);
      expectProblem(refused, 429, "quota_exceeded");
      const wait = Number(refused.headers.get("retry-after"));
      expect(wait).toBeLessThanOrEqual(before);
      expect(wait).toBeGreaterThanOrEqual(untilMidnightS());
      expect(refused.headers.get("ratelimit-policy")).toBe('"tokens";q=1;w=86400');
      expect(refused.headers.get("ratelimit")).toBe(`"tokens";r=0;t=${wait}`);
    }
    expect((await call(who, "GET", `/chats/${chat_id}`)).json.message_count).toBe(2);
    expect((await call(who, "GET", "/chats")).json.total).toBe(1);
    expect(parts.provider.asked).toHaveLength(asked);
  });

  it("gives the answer of a key again, whatever was taken meanwhile", async () => {
    const who = await newUser();
    const key = { "idempotency-key": "once" };
    const first = await call(who, "POST", "/api/chat/send", { message: "Hello" }, key);
    expect((await call(who, "POST", "/api/chat/send", { message: "Hello" }, key)).json).toEqual(first.json);
    expect(first.status).toBe(200);
  });

  it("is taken also by a turn whose chat was deleted while it ran", async () => {
    stalls();
    const who = await newUser();
    const { chat } = await leaveRunning(who);
    expect((await call(who, "DELETE", `/chats/${chat}`)).status).toBe(204);
    const used = async () => (await call(who, "GET", "/api/v1/usage")).json;
    await expect.poll(async () => (await used()).output_tokens, PATIENT).toBeGreaterThan(0);
    expect(await used()).toMatchObject({ turns: 1, estimated_turns: 1 });
    expectProblem(await call(who, "POST", "/api/chat/send", { message: "Hello" }), 429, "quota_exceeded");
  });

  declares(parts);
});
