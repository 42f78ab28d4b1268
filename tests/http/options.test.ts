import { sql } from "drizzle-orm";
import { describe, expect, it } from "vitest";
import { databases, open } from "../support/databases.ts";
import { startHttp } from "../support/http-app.ts";
import { expectProblem, PATIENT } from "../support/http-expect.ts";
import { declares, useApp } from "../support/http-setup.ts";
import { openStream } from "../support/http-stream.ts";
import { type Asked, startProvider } from "../support/provider.ts";
import { startService } from "../support/service.ts";

const OPTIONS = { temperature: 0.25, max_tokens: 50, system_prompt: "Answer as a pirate." };
const HOUSE = "Be brief.";

type Send = { path: string; body: object };

/** Every route that runs a turn. */
const sending: { route: string; to(chat: string, message: string): Send }[] = [
  { route: "POST /chat", to: (chat_id, message) => ({ path: "/chat", body: { chat_id, message } }) },
  {
    route: "POST /conversations/{id}/ask-message",
    to: (chat, content) => ({ path: `/conversations/${chat}/ask-message`, body: { content } }),
  },
  {
    route: "POST /api/chat/send",
    to: (conversation_id, message) => ({ path: "/api/chat/send", body: { conversation_id, message } }),
  },
  {
    route: "POST /generate-response",
    to: (chat_id, message) => ({ path: "/generate-response", body: { chat_id, message } }),
  },
  {
    route: "POST /api/v1/chat/message",
    to: (chat_id, content) => ({ path: "/api/v1/chat/message", body: { chat_id, content } }),
  },
];

/** What a request said beside the conversation. */
const askedOf = ({ body: { temperature, max_tokens, messages } }: Asked) => ({
  temperature,
  max_tokens,
  system_prompt: messages.filter(({ role }) => role === "system").map(({ content }) => content),
});
const optioned = { ...OPTIONS, system_prompt: [OPTIONS.system_prompt] };
const plain = { temperature: undefined, max_tokens: undefined, system_prompt: [HOUSE] };

describe.each(databases)("the options of a turn, on $database", ({ fresh }) => {
  const parts = useApp({ SYSTEM_PROMPT: HOUSE, PRICES: "openai/priced=2/6" }, fresh);
  const call: typeof parts.app.call = (...args) => parts.app.call(...args);
  const newChat = async (): Promise<string> => (await call("POST", "/chats", {})).json.id;
  /** Those of the requests with this question. */
  const askedFor = (question: string) =>
    parts.provider.asked.filter(({ body }) => body.messages.at(-1)?.content === question).map(askedOf);

  it.each(sending)("reach the provider for that turn only: $route", async ({ route, to }) => {
    const chat = await newChat();
    const [first, second] = [to(chat, `${route} with`), to(chat, `${route} without`)];
    expect((await call("POST", first.path, { ...first.body, ...OPTIONS })).status).toBe(200);
    expect((await call("POST", second.path, second.body)).status).toBe(200);
    expect(askedFor(`${route} with`)).toEqual([optioned]);
    expect(askedFor(`${route} without`)).toEqual([plain]);
  });

  it.each(sending)("reach it for a streamed answer too: $route", async ({ route, to }) => {
    const { path, body } = to(await newChat(), `${route} streamed`);
    const stream = await openStream(parts.app, "POST", path, { ...body, ...OPTIONS, stream: true });
    expect((await stream.end()).at(-1)?.event).toBe("turn.completed");
    expect(askedFor(`${route} streamed`)).toEqual([optioned]);
  });

  it("reach it for a new answer to the same question, and neither before nor after", async () => {
    const chat_id = await newChat();
    const { message_id } = (await call("POST", "/chat", { chat_id, message: "again?" })).json;
    const again = await call("POST", `/api/v1/messages/${message_id}/regenerate`, OPTIONS);
    await call("POST", `/api/v1/messages/${again.json.message_id}/regenerate`);
    expect(askedFor("again?")).toEqual([plain, optioned, plain]);
  });

  it("reach it for each of several answers", async () => {
    const body = { content: "which?", n: 2, ...OPTIONS };
    expect((await call("POST", `/conversations/${await newChat()}/ask-message`, body)).status).toBe(200);
    expect(askedFor("which?")).toEqual([optioned, optioned]);
  });

  it("reach it when the turn has waited in line, and are not those of the turn ahead", async () => {
    const { promise: gate, resolve } = Promise.withResolvers<void>();
    parts.provider.behave(() => ({ before: () => gate }));
    const chat_id = await newChat();
    const ahead = call("POST", "/chat", { chat_id, message: "ahead", temperature: 1 });
    await expect.poll(parts.provider.busy, PATIENT).toBe(1);
    const stream = await openStream(parts.app, "POST", "/chat", {
      chat_id,
      message: "behind",
      ...OPTIONS,
      stream: true,
    });
    await stream.until("turn.status");
    resolve();
    await stream.end();
    expect((await ahead).status).toBe(200);
    expect(askedFor("ahead")).toEqual([{ ...plain, temperature: 1 }]);
    expect(askedFor("behind")).toEqual([optioned]);
  });

  it("leave out a temperature for a model that refuses it, and name the limit as that model does", async () => {
    const body = { chat_id: await newChat(), message: "reason!", model: "openai/gpt-6-luna", ...OPTIONS };
    expect((await call("POST", "/chat", body)).status).toBe(200);
    const [asked] = parts.provider.asked.filter((one) => one.body.messages.at(-1)?.content === "reason!");
    expect(asked?.body).toMatchObject({ max_completion_tokens: OPTIONS.max_tokens });
    expect(Object.keys(asked?.body ?? {})).not.toContain("temperature");
    expect(Object.keys(asked?.body ?? {})).not.toContain("max_tokens");
  });

  const wrong: [string, unknown][] = [
    ["temperature", -0.1],
    ["temperature", 2.1],
    ["temperature", "0.5"],
    ["max_tokens", 0],
    ["max_tokens", 1.5],
    ["max_tokens", 1_000_001],
    ["system_prompt", ""],
    ["system_prompt", "x".repeat(32_769)],
    ["system_prompt", "a\0b"],
  ];
  const refusing = [
    ...sending,
    {
      route: "POST /api/v1/messages/{id}/regenerate",
      to: (chat: string) => ({ path: `/api/v1/messages/${chat}/regenerate`, body: {} }),
    },
  ];

  it.each(refusing)(
    "that are out of bounds are refused by name, and nothing is asked or stored: $route",
    async ({ to }) => {
      const chat = await newChat();
      const before = parts.provider.asked.length;
      const { path, body } = to(chat, "never");
      for (const [field, value] of wrong) {
        const refused = await call("POST", path, { ...body, [field]: value });
        expectProblem(refused, 422, "validation_failed");
        expect(refused.json.errors).toEqual([{ path: expect.stringContaining(field), message: expect.any(String) }]);
      }
      expect(parts.provider.asked).toHaveLength(before);
      expect((await call("GET", `/chats/${chat}`)).json.message_count).toBe(0);
    },
  );

  it.each([
    ["temperature", 0],
    ["temperature", 2],
    ["max_tokens", 1],
  ])("may be at their bounds: %s %d", async (field, value) => {
    const message = `${field} ${value}`;
    expect((await call("POST", "/chat", { chat_id: await newChat(), message, [field]: value })).status).toBe(200);
    expect(askedFor(message)).toEqual([{ ...plain, [field]: value }]);
  });

  it("are part of what an idempotency key stands for", async () => {
    const [chat_id, headers] = [await newChat(), { "idempotency-key": crypto.randomUUID() }];
    const body = { chat_id, message: "once", ...OPTIONS };
    expect((await call("POST", "/chat", body, headers)).status).toBe(200);
    expect((await call("POST", "/chat", body, headers)).status).toBe(200);
    expectProblem(await call("POST", "/chat", { ...body, temperature: 0.5 }, headers), 422, "idempotency_mismatch");
    expect(askedFor("once")).toEqual([optioned]);
  });

  it("of a finished turn come with what it cost, and how long its text took to begin", async () => {
    const turnOf = async (model: string) => {
      const sent = await call("POST", "/chat", { chat_id: await newChat(), message: "how much?", model });
      return (await call("GET", `/api/v1/turns/${sent.json.turn_id}`)).json;
    };
    const turn = await turnOf("openai/priced");
    expect(turn).toMatchObject({
      cost_usd: expect.closeTo((11 * 2 + 7 * 6) / 1e6, 9),
      attempts: [{ first_token_ms: expect.any(Number), ms: expect.any(Number) }],
    });
    const [{ first_token_ms, ms }] = turn.attempts;
    expect(first_token_ms).toBeGreaterThanOrEqual(0);
    expect(first_token_ms).toBeLessThanOrEqual(ms);
    expect((await turnOf("openai/unpriced")).cost_usd).toBeNull();
    parts.provider.behave(() => ({ status: 400 }));
    const refused = await call("POST", "/chat", { chat_id: await newChat(), message: "no?", model: "openai/priced" });
    expect(refused.json.attempts).toMatchObject([{ first_token_ms: null, outcome: "bad_request" }]);
  });

  declares(parts);
});

describe.each(databases)("on $database a turn that waited in line in a process that was killed", ({ fresh }) => {
  it("is answered by the next one with the options that it was sent with", async ({ onTestFinished }) => {
    const url = await fresh();
    const provider = await startProvider();
    onTestFinished(() => provider.close());
    provider.behave(() => ({ headersAfter: Number.POSITIVE_INFINITY }));
    const env = { DATABASE_URL: url, OPENAI_BASE_URL: provider.openaiUrl, SYSTEM_PROMPT: HOUSE };
    const killed = await startService("node", env);
    onTestFinished(async () => void (await killed.end("SIGKILL")));
    const chat_id = (await killed.call("POST", "/chats")).json.id;
    const ahead = killed.call("POST", "/chat", { chat_id, message: "ahead" }).catch(() => "cut");
    await expect.poll(provider.busy, PATIENT).toBe(1);
    const behind = killed.call("POST", "/chat", { chat_id, message: "behind", ...OPTIONS }).catch(() => "cut");
    const db = await open(url);
    onTestFinished(() => db.close());
    const turns = db.tables.turns;
    const stored = () => db.select({ status: turns.status, options: turns.options }).from(turns).orderBy(turns.id);
    await expect.poll(stored, PATIENT).toHaveLength(2);
    await killed.end("SIGKILL");
    expect([await ahead, await behind]).toEqual(["cut", "cut"]);
    expect((await stored())[1]).toEqual({
      status: "queued",
      options: { temperature: 0.25, maxTokens: 50, systemPrompt: OPTIONS.system_prompt },
    });

    provider.behave(() => ({}));
    await db.update(turns).set({ leaseUntil: 1 }).where(sql`${turns.leaseUntil} is not null`); // as if time had passed
    const next = await startHttp(env);
    onTestFinished(() => next.stop());
    await expect.poll(() => provider.asked.length, PATIENT).toBe(2);
    expect(provider.asked.map(askedOf)).toEqual([plain, optioned]);
    const isDone = async () => (await next.call("GET", `/chats/${chat_id}/messages`)).json.at(-1).content;
    await expect.poll(isDone, PATIENT).toMatch(/^Echo: .*behind/s);
  });
});
