import { describe, expect, it } from "vitest";
import { databases } from "../support/databases.ts";
import { expectProblem, PATIENT, uuid } from "../support/http-expect.ts";
import { declares, useApp } from "../support/http-setup.ts";
import type { Asked, Script } from "../support/provider.ts";

const KEY = "sk-a-key-that-nobody-may-see";
const WORDS = "words of the provider that nobody may see";
const FOREVER = Number.POSITIVE_INFINITY;
const says = (error: object = {}) => ({ error: { message: WORDS, type: "server_error", param: KEY, ...error } });

/** What the provider does; what the caller is told; what is kept of the answer. */
const failures: [string, Script, number, string, string?][] = [
  ["fails with 500", { status: 500, error: says() }, 503, "provider_unavailable"],
  ["is overloaded (503)", { status: 503, error: says() }, 503, "provider_unavailable"],
  [
    "is over its rate limit",
    { status: 429, error: says({ code: "rate_limit_exceeded" }) },
    503,
    "provider_unavailable",
  ],
  ["has no quota left", { status: 429, error: says({ code: "insufficient_quota" }) }, 502, "provider_failed"],
  ["refuses our key", { status: 401, error: says({ code: "invalid_api_key" }) }, 502, "provider_failed"],
  ["refuses the request", { status: 400, error: says() }, 502, "provider_failed"],
  ["sends an error that is no JSON", { status: 502, error: WORDS }, 503, "provider_unavailable"],
  [
    "finds the context too long",
    { status: 400, error: says({ code: "context_length_exceeded" }) },
    422,
    "context_too_long",
  ],
  ["refuses the content", { status: 400, error: says({ code: "content_policy_violation" }) }, 422, "content_refused"],
  ["filters its answer away", { text: [], finish: "content_filter" }, 422, "content_refused"],
  ["never sends headers", { headersAfter: FOREVER }, 504, "provider_timeout"],
  ["never begins its answer", { text: [], afterwards: "stall" }, 504, "provider_timeout"],
  ["falls silent in its answer", { text: ["Half ", "an"], afterwards: "stall" }, 504, "provider_timeout", "Half an"],
  [
    "breaks off its answer",
    { text: ["Half ", "an", ""], every: 20, afterwards: "cut" },
    502,
    "provider_failed",
    "Half an",
  ],
  [
    "ends without saying that it is complete",
    { finish: null, done: false },
    502,
    "provider_failed",
    "Echo: ends without saying that it is complete",
  ],
  ["reports an error in its stream", { text: [], raw: `data: ${JSON.stringify(says())}\n\n` }, 502, "provider_failed"],
];

const statusOf = ({ headersAfter, status = 200 }: Script) => (headersAfter === FOREVER ? null : status);

/** A question is the name of what the provider does about it. */
const behave = ({ body }: Asked): Script =>
  failures.find(([name]) => name === body.messages.at(-1)?.content)?.[1] ?? {};

describe.each(databases)("a provider that fails, on $database", ({ fresh }) => {
  const patient = useApp({ OPENAI_API_KEY: KEY }, fresh, behave);
  const impatient = useApp(
    { OPENAI_API_KEY: KEY, LAST_FIRST_TOKEN_TIMEOUT_MS: "1500", IDLE_TIMEOUT_MS: "1500" },
    fresh,
    behave,
  );

  it.concurrent.for(failures)("%s", async ([question, script, status, code, kept], { expect }) => {
    const { app, provider } = status === 504 ? impatient : patient;
    for (const surface of ["chat", "send"]) {
      const user_id = `${surface}: ${question}`;
      const model = `openai/${encodeURIComponent(user_id)}`; // each with a breaker of its own
      const as = { "x-user-id": encodeURIComponent(user_id) };
      const { id } = (await app.call("POST", "/chats", undefined, as)).json;
      const send = (message: string) =>
        surface === "chat"
          ? app.call("POST", "/chat", { chat_id: id, message, model }, as)
          : app.call("POST", "/api/chat/send", { conversation_id: id, message, model }, as);
      const failed = await send(question);
      expectProblem(failed, status, code);
      expect(failed.json).toMatchObject({
        turn_id: uuid,
        attempts: expect.arrayContaining([
          expect.objectContaining({
            target: model,
            outcome: expect.any(String),
            status: statusOf(script),
            ms: expect.any(Number),
          }),
        ]),
      });

      const asked = { role: "user", content: question };
      const answer = kept === undefined ? [] : [{ role: "assistant", content: kept }];
      const messages = await app.call("GET", `/chats/${id}/messages`, undefined, as);
      expect(messages.json).toMatchObject([asked, ...answer]);
      const chat = await app.call("GET", `/chats/${id}`, undefined, as);
      expect(chat.json).toMatchObject({ message_count: 1 + answer.length, title: question });
      const listed = await app.call("GET", "/api/chat/conversations", undefined, as);
      expect(listed.json.conversations).toMatchObject([{ id, last_message: kept ?? question }]);

      const next = await send(`and now, ${user_id}?`);
      expect(next.status).toBe(200);
      const shown = provider.asked.find(({ body }) => body.messages.at(-1)?.content.endsWith(`and now, ${user_id}?`));
      expect(shown?.body.messages).toEqual(
        kept === undefined
          ? [{ role: "user", content: `${question}\n\nand now, ${user_id}?` }]
          : [asked, ...answer, { role: "user", content: `and now, ${user_id}?` }],
      );
      for (const { text } of [failed, messages, chat, listed, next]) {
        expect(text).not.toContain(WORDS);
        expect(text).not.toContain(KEY);
      }
    }
  });

  declares(patient);
  declares(impatient);
});

describe("a provider that fails", () => {
  const parts = useApp({ OPENAI_API_KEY: KEY, LAST_FIRST_TOKEN_TIMEOUT_MS: "500" });
  const call: typeof parts.app.call = (...args) => parts.app.call(...args);

  it("closes the connection of a provider that it has given up", async () => {
    const left = parts.provider.left();
    parts.provider.behave(() => ({ headersAfter: FOREVER }));
    expectProblem(await call("POST", "/api/chat/send", { message: "hello" }), 504, "provider_timeout");
    await expect.poll(parts.provider.left, PATIENT).toBe(left + 1);
  });

  it("is asked no more until the time it named, which the caller is told", async () => {
    parts.provider.behave(() => ({ status: 429, headers: { "retry-after": "40" } }));
    const send = () => call("POST", "/api/chat/send", { message: "hello", model: "openai/limited" });
    const [refused, unasked] = [await send(), await send()];
    expectProblem(refused, 503, "provider_unavailable");
    expect(refused.headers.get("retry-after")).toBe("40");
    expectProblem(unasked, 503, "provider_unavailable");
    expect(unasked.json.attempts).toEqual([]);
    expect(unasked.headers.get("retry-after")).toMatch(/^(39|40)$/);
  });

  it("does not lose the message that made the conversation", async () => {
    parts.provider.behave(() => ({ status: 500, error: says() }));
    expectProblem(
      await call("POST", "/api/chat/send", { message: "first words", user_id: "keeper" }),
      503,
      "provider_unavailable",
    );
    const { conversations } = (await call("GET", "/api/chat/conversations?user_id=keeper")).json;
    expect(conversations).toMatchObject([{ title: "first words", last_message: "first words" }]);
    const { messages } = (await call("GET", `/api/chat/conversations/${conversations[0].id}`)).json;
    expect(messages).toMatchObject([{ role: "user", content: "first words" }]);
  });

  it("is not asked for a message that alone is longer than its window", async () => {
    const asked = parts.provider.asked.length;
    const refused = await call("POST", "/api/chat/send", { message: "word ".repeat(25_000), user_id: "long" });
    expectProblem(refused, 422, "context_too_long");
    expect(refused.json.turn_id).toEqual(uuid);
    expect(parts.provider.asked).toHaveLength(asked);
    expect((await call("GET", "/chats?user_id=long")).json.chats).toMatchObject([{ message_count: 1 }]);
  });

  declares(parts);
});

describe("a provider that is not there", () => {
  const parts = useApp({ OPENAI_BASE_URL: "http://127.0.0.1:9/v1", OPENAI_API_KEY: KEY });

  it("is unavailable, and the message is kept", async () => {
    const failed = await parts.app.call("POST", "/api/chat/send", { message: "hello", model: "openai/some-model" });
    expectProblem(failed, 503, "provider_unavailable");
    const attempt = { target: "openai/some-model", outcome: "connect", status: null };
    expect(failed.json.attempts).toMatchObject([attempt, attempt, attempt]);
    expect(failed.text).not.toMatch(/127\.0\.0\.1|ECONNREFUSED/);
    expect((await parts.app.call("GET", "/chats")).json.chats).toMatchObject([{ message_count: 1 }]);
  });
});
