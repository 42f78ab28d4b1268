import { describe, expect, it } from "vitest";
import { as, SECRET } from "../support/app.ts";
import { databases } from "../support/databases.ts";
import { expectProblem, NOBODY, time, UUID, uuid } from "../support/http-expect.ts";
import { declares, useApp } from "../support/http-setup.ts";
import { openStream, type Stream, textOf } from "../support/http-stream.ts";

const TEXT = "Hi 👋, I'm 👩‍👩‍👧.";

/** Every route that sends, with what it takes beside the options. */
const routes = [
  { name: "chats", path: () => "/chat", body: (chat_id: string) => ({ chat_id, message: "Hello" }) },
  {
    name: "conversations",
    path: (id: string) => `/conversations/${id}/ask-message`,
    body: () => ({ content: "Hello" }),
  },
  {
    name: "send",
    path: () => "/api/chat/send",
    body: (conversation_id: string) => ({ conversation_id, message: "Hello" }),
  },
  { name: "generate", path: () => "/generate-response", body: (chat_id: string) => ({ chat_id, message: "Hello" }) },
  { name: "coaching", path: () => "/api/v1/chat/message", body: (chat_id: string) => ({ chat_id, content: "Hello" }) },
] as const;

describe.each(databases)("streams on $database", ({ fresh }) => {
  const parts = useApp({}, fresh);
  const newChat = async (): Promise<string> => (await parts.app.call("POST", "/chats")).json.id;
  const says = (...text: string[]) => parts.provider.behave(() => ({ text }));
  /** The provider says this, and then nothing more. */
  const stalls = (...text: string[]) => parts.provider.behave(() => ({ text, afterwards: "stall" }));
  const send = (chat_id: string, more: object = {}, headers: Record<string, string> = {}): Promise<Stream> =>
    openStream(parts.app, "POST", "/chat", { chat_id, message: "Hello", stream: true, ...more }, headers);
  const follow = (turnId: string, lastEventId?: string): Promise<Stream> =>
    openStream(
      parts.app,
      "GET",
      `/api/v1/turns/${turnId}/stream`,
      undefined,
      lastEventId === undefined ? {} : { "last-event-id": lastEventId },
    );
  const cancel = (turnId: string) => parts.app.call("POST", `/api/v1/turns/${turnId}/cancel`);

  /** A turn that has ended with TEXT. */
  async function givenEnded() {
    says("Hi 👋", ", I'm 👩‍👩‍👧", ".");
    const chat = await newChat();
    const frames = await (await send(chat)).end();
    return { chat, frames, turnId: frames[0]?.data.turn_id as string, answerId: frames[0]?.data.message_id as string };
  }

  it("say what they are, and that nothing on the way may hold them back", async () => {
    const stream = await send(await newChat());
    expect(stream.status).toBe(200);
    expect(stream.headers.get("content-type")).toMatch(/^text\/event-stream/);
    expect(stream.headers.get("cache-control")).toContain("no-transform");
    expect(stream.headers.get("x-accel-buffering")).toBe("no");
    expect(stream.headers.get("x-request-id")).toMatch(/\S/);
    await stream.end();
  });

  it("begin before the provider has said anything", async () => {
    parts.provider.behave(() => ({ headersAfter: Number.POSITIVE_INFINITY }));
    const chat = await newChat();
    const stream = await send(chat, { model: "fast" });
    const [started] = await stream.until("turn.started");
    expect(started).toEqual({
      raw: expect.stringMatching(/^event: turn\.started\ndata: \{.*\}\n\n$/),
      id: undefined,
      event: "turn.started",
      data: { turn_id: uuid, conversation_id: chat, user_message_id: uuid, message_id: uuid, model: "fast" },
    });
    await cancel(started?.data.turn_id);
    await stream.end();
  });

  it("tell the text in deltas whose ids are offsets, and last the turn, frame by frame", async () => {
    const { chat, frames, turnId, answerId } = await givenEnded();
    expect(frames[0]?.event).toBe("turn.started");
    const deltas = frames.slice(1, -1);
    let sent = "";
    for (const { raw, event, data, id } of deltas) {
      sent += data.text;
      expect(event).toBe("message.delta");
      expect(id).toBe(`0-${sent.length}`);
      expect(data.text.isWellFormed()).toBe(true);
      expect(raw).toBe(`id: ${id}\nevent: message.delta\ndata: ${JSON.stringify({ text: data.text })}\n\n`);
    }
    expect(sent).toBe(TEXT);
    const last = frames.at(-1);
    expect(last).toMatchObject({ id: "0-end", event: "turn.completed" });
    expect(last?.data).toEqual({
      id: turnId,
      conversation_id: chat,
      user_message_id: frames[0]?.data.user_message_id,
      message_id: answerId,
      status: "completed",
      model: "balanced",
      target: expect.stringMatching(/^openai\//),
      finish_reason: "stop",
      usage: { input_tokens: 11, output_tokens: 7, estimated: false },
      cost_usd: null,
      attempts: [expect.objectContaining({ target: expect.any(String), outcome: "completed", ms: expect.any(Number) })],
      error: null,
      context: { messages: 1, omitted: 0, estimated_tokens: expect.any(Number) },
      request_id: expect.any(String),
      created_at: time,
      completed_at: time,
    });
    expect((await parts.app.call("GET", `/api/v1/turns/${turnId}`)).json).toEqual(last?.data);
    const { json } = await parts.app.call("GET", `/chats/${chat}/messages`);
    expect(json.map(({ content }: { content: string }) => content)).toEqual(["Hello", TEXT]);
  });

  it("are asked for in the body, or by the Accept header where the body says nothing", async () => {
    const accept = { accept: "text/event-stream" };
    const chat = await newChat();
    const body = { chat_id: chat, message: "Hello" };
    const type = async (more: object, headers: Record<string, string>) => {
      const answered = await parts.app.call("POST", "/chat", { ...body, ...more }, headers);
      expect(answered.status).toBe(200);
      return answered.headers.get("content-type")?.split(";")[0];
    };
    expect(await type({}, accept)).toBe("text/event-stream");
    expect(await type({}, { accept: "application/json, text/event-stream;q=0.5" })).toBe("text/event-stream");
    expect(await type({ stream: false }, accept)).toBe("application/json");
    expect(await type({ stream: true }, { accept: "application/json" })).toBe("text/event-stream");
    expect(await type({}, { accept: "*/*" })).toBe("application/json");
  });

  describe.each(routes)("of the route $name", ({ path, body }) => {
    it("tell the same events as everywhere", async () => {
      says(TEXT);
      const id = await newChat();
      const stream = await openStream(parts.app, "POST", path(id), { ...body(id), stream: true });
      expect(stream.status).toBe(200);
      const frames = await stream.end();
      expect(frames.map(({ event }) => event)).toEqual(["turn.started", "message.delta", "turn.completed"]);
      expect(textOf(frames)).toBe(TEXT);
      const turn = await parts.app.call("GET", `/api/v1/turns/${frames[0]?.data.turn_id}`);
      expect(turn.json).toEqual(frames.at(-1)?.data);
    });

    it("do not begin where the request is wrong: that is a plain problem", async () => {
      const id = await newChat();
      const asked = parts.provider.asked.length;
      const wrong = await parts.app.call("POST", path(id), { ...body(id), stream: true, model: "nonsense" });
      expectProblem(wrong, 422, "validation_failed");
      expectProblem(await parts.app.call("POST", path(id), { stream: true }), 422, "validation_failed");
      expectProblem(
        await parts.app.call("POST", path(id), "{", { accept: "text/event-stream" }),
        400,
        "malformed_json",
      );
      expect(parts.provider.asked).toHaveLength(asked);
    });
  });

  it("of one answer made anew tell the new one", async () => {
    const { turnId, answerId, chat } = await givenEnded();
    says("Another");
    const path = `/api/v1/messages/${answerId}/regenerate`;
    const stream = await openStream(parts.app, "POST", path, { stream: true });
    const frames = await stream.end();
    expect(frames.map(({ event }) => event)).toEqual(["turn.started", "message.delta", "turn.completed"]);
    expect(textOf(frames)).toBe("Another");
    expect(frames[0]?.data.turn_id).not.toBe(turnId);
    const newest = frames[0]?.data.message_id;
    says("A third");
    const plain = await parts.app.call("POST", `/api/v1/messages/${newest}/regenerate`);
    expect(plain.json).toEqual({ turn_id: uuid, message_id: uuid, content: "A third", model: expect.any(String) });
    expectProblem(await parts.app.call("POST", path), 409, "not_latest");
    const beside = await parts.app.call("GET", `/api/v1/messages/${plain.json.message_id}/alternatives`);
    expect(beside.json).toEqual({
      message_id: plain.json.message_id,
      alternatives: [TEXT, "Another"].map((content) => ({
        id: uuid,
        content,
        model: expect.any(String),
        status: "completed",
        superseded: true,
        created_at: time,
      })),
    });
    const { json } = await parts.app.call("GET", `/chats/${chat}/messages`);
    expect(json.map(({ content }: { content: string }) => content)).toEqual(["Hello", "A third"]);
  });

  it("do not begin where there is no such conversation, or its queue would rather refuse", async () => {
    const missing = await parts.app.call("POST", "/chat", { chat_id: NOBODY, message: "x", stream: true });
    expectProblem(missing, 404, "not_found");
    stalls("Half");
    const chat = await newChat();
    const stream = await send(chat);
    const [started] = await stream.until("message.delta");
    const refused = await parts.app.call("POST", "/chat", {
      chat_id: chat,
      message: "x",
      stream: true,
      if_busy: "reject",
    });
    expectProblem(refused, 409, "conversation_busy");
    expect(refused.json.turn_id).toBe(started?.data.turn_id);
    await cancel(started?.data.turn_id);
    await stream.end();
  });

  it("are not to be had of several answers at once", async () => {
    const id = await newChat();
    for (const [more, headers] of [
      [{ stream: true }, {}],
      [{}, { accept: "text/event-stream" }],
    ] as const) {
      const body = { content: "Hello", n: 2, ...more };
      expectProblem(
        await parts.app.call("POST", `/conversations/${id}/ask-message`, body, headers),
        422,
        "validation_failed",
      );
    }
    expect((await parts.app.call("GET", `/chats/${id}`)).json.message_count).toBe(0);
  });

  it("tell of a turn in line that it is queued, and of the text when its time has come", async () => {
    stalls("Half");
    const chat = await newChat();
    const first = await send(chat);
    const [started] = await first.until("message.delta");
    const second = await send(chat);
    const waiting = await second.until("turn.status");
    expect(waiting.map(({ event, data, id }) => [event, data.status, id])).toEqual([
      ["turn.started", undefined, undefined],
      ["turn.status", "queued", undefined],
    ]);
    says("Whole");
    expect((await cancel(started?.data.turn_id)).json).toMatchObject({ status: "incomplete" });
    const frames = await second.end();
    expect(frames.map(({ event }) => event)).toEqual([
      "turn.started",
      "turn.status",
      "message.delta",
      "turn.completed",
    ]);
    expect(textOf(frames)).toBe("Whole");
    expect((await first.end()).at(-1)).toMatchObject({ event: "turn.cancelled", id: "0-end" });
  });

  it("end with turn.failed where no target answers: incomplete with a text, else failed", async () => {
    parts.provider.behave(() => ({ text: ["Half"], finish: null, done: false }));
    const cut = (await (await send(await newChat())).end()).at(-1);
    expect(cut).toMatchObject({
      event: "turn.failed",
      data: { status: "incomplete", error: { code: "provider_failed" } },
    });
    parts.provider.behave(() => ({ status: 400 }));
    const refused = await send(await newChat());
    expect(refused.status).toBe(200);
    const frames = await refused.end();
    expect(frames.map(({ event }) => event)).toEqual(["turn.started", "turn.failed"]);
    expect(frames.at(-1)).toMatchObject({
      id: "0-end",
      data: { status: "failed", error: { code: expect.any(String) } },
    });
  });

  it("go on without their readers: the turn is whole, and the provider's connection stays", async () => {
    parts.provider.behave(() => ({ text: ["Hi", " there"], every: 20 }));
    const left = parts.provider.left();
    const chat = await newChat();
    const stream = await send(chat);
    const [started] = await stream.until("message.delta");
    await stream.leave();
    const frames = await (await follow(started?.data.turn_id)).end();
    expect(textOf(frames)).toBe("Hi there");
    expect(frames.at(-1)).toMatchObject({ event: "turn.completed" });
    expect(parts.provider.left()).toBe(left);
  });

  describe("of a turn that is followed", () => {
    it("tell it from the start to who comes without an id, while it runs and after its end", async () => {
      stalls(TEXT);
      const first = await send(await newChat());
      const [started] = await first.until("message.delta");
      const second = await follow(started?.data.turn_id);
      expect(textOf(await second.until("message.delta"))).toBe(TEXT);
      await cancel(started?.data.turn_id);
      const third = await (await follow(started?.data.turn_id, "")).end();
      const told = await second.end();
      expect(told).toEqual(await first.end());
      expect(third.map(({ event }) => event)).toEqual(["turn.started", "message.delta", "turn.cancelled"]);
      expect(third.at(-1)).toEqual(told.at(-1));
      expect(third[0]).toEqual(started);
    });

    it("go on from every offset after it ended, with a comment at once and no second start", async () => {
      const { turnId, frames } = await givenEnded();
      for (let offset = 0; offset <= TEXT.length; offset++) {
        const stream = await follow(turnId, `0-${offset}`);
        const rest = await stream.end();
        expect(stream.writes[0]).toMatch(/^:/);
        expect(rest.map(({ event }) => event)).toEqual(
          offset < TEXT.length ? ["message.delta", "turn.completed"] : ["turn.completed"],
        );
        expect(textOf(rest, TEXT.slice(0, offset))).toBe(TEXT);
        expect(rest.at(-1)).toEqual(frames.at(-1));
      }
    });

    it("begin anew for who knows another beginning, or more than there is", async () => {
      const { turnId } = await givenEnded();
      for (const id of ["1-3", "7-0", `0-${TEXT.length + 1}`, "0-999999999"]) {
        const [restart, ...rest] = await (await follow(turnId, id)).end();
        expect(restart).toMatchObject({ event: "message.restart", id: "0-0", data: { reason: expect.any(String) } });
        expect(rest.map(({ event }) => event)).toEqual(["message.delta", "turn.completed"]);
        expect(textOf(rest)).toBe(TEXT);
      }
    });

    it("are not sent again to who has heard the end, and to nobody with an id that never was one", async () => {
      const { turnId } = await givenEnded();
      for (const id of ["0-end", "3-end"]) {
        const nothing = await parts.app.call("GET", `/api/v1/turns/${turnId}/stream`, undefined, {
          "last-event-id": id,
        });
        expect([nothing.status, nothing.text]).toEqual([204, ""]);
      }
      for (const id of ["1", "0-", "-1", "0-1-2", "a-b", "0-1.5", "0--1", "1e3-0", "0-99999999999"]) {
        const path = `/api/v1/turns/${turnId}/stream`;
        expectProblem(await parts.app.call("GET", path, undefined, { "last-event-id": id }), 422, "validation_failed");
      }
    });
  });

  describe("a turn", () => {
    it("is shown while it runs, cancelled on request, and then finished", async () => {
      stalls("Half");
      const left = parts.provider.left();
      const stream = await send(await newChat());
      const [started] = await stream.until("message.delta");
      const id = started?.data.turn_id;
      expect((await parts.app.call("GET", `/api/v1/turns/${id}`)).json).toMatchObject({
        id,
        status: "in_progress",
        target: null,
        attempts: [],
        error: null,
        completed_at: null,
      });
      const cancelled = await cancel(id);
      expect(cancelled.status).toBe(200);
      expect(cancelled.json).toMatchObject({
        id,
        status: "incomplete",
        error: { code: "turn_cancelled" },
        completed_at: time,
      });
      expect((await stream.end()).at(-1)).toMatchObject({ event: "turn.cancelled", data: cancelled.json });
      await expect.poll(() => parts.provider.left()).toBe(left + 1);
      const late = await cancel(id);
      expectProblem(late, 409, "turn_finished");
      expect(late.json.turn_id).toBe(id);
    });

    it("that nobody has is not found, nor an answer; a malformed id is refused", async () => {
      for (const [method, path] of [
        ["GET", `/api/v1/turns/${NOBODY}`],
        ["GET", `/api/v1/turns/${NOBODY}/stream`],
        ["POST", `/api/v1/turns/${NOBODY}/cancel`],
        ["POST", `/api/v1/messages/${NOBODY}/regenerate`],
        ["GET", `/api/v1/messages/${NOBODY}/alternatives`],
      ] as const) {
        expectProblem(await parts.app.call(method, path), 404, "not_found");
        expectProblem(await parts.app.call(method, path.replace(NOBODY, "x")), 422, "validation_failed");
      }
    });
  });

  describe("with an Idempotency-Key", () => {
    let keys = 0;
    const newKey = () => ({ "idempotency-key": `stream-${++keys}` });

    it("join the turn that runs, also from a plain request, and tell it again when it has ended", async () => {
      stalls("Half");
      const [chat, key] = [await newChat(), newKey()];
      const asked = parts.provider.asked.length;
      const first = await send(chat, {}, key);
      const [started] = await first.until("message.delta");
      const second = await send(chat, {}, key);
      const plain = parts.app.call("POST", "/chat", { chat_id: chat, message: "Hello" }, key);
      expect(await second.until("message.delta")).toEqual(await first.until("message.delta"));
      await cancel(started?.data.turn_id);
      const told = await first.end();
      expect(await second.end()).toEqual(told);
      expectProblem(await plain, 409, "turn_cancelled");
      expect((await plain).json.turn_id).toBe(started?.data.turn_id);
      expect(await (await send(chat, {}, key)).end()).toEqual(told);
      expect(parts.provider.asked).toHaveLength(asked + 1);
      expect((await parts.app.call("GET", `/chats/${chat}`)).json.message_count).toBe(2);
    });

    it("are one request whatever the order of its fields; any other body or route with the key is refused", async () => {
      const [chat, key] = [await newChat(), newKey()];
      const body = { chat_id: chat, message: "Hello", model: "fast" };
      const first = await parts.app.call("POST", "/chat", body, key);
      const turned = { model: "fast", stream: false, message: "Hello", chat_id: chat };
      expect((await parts.app.call("POST", "/chat/", turned, key)).json).toEqual(first.json);
      for (const [path, other] of [
        ["/chat", { ...body, message: "Hello!" }],
        ["/chat", { ...body, model: "smart" }],
        ["/chat", { ...body, stream: true, if_busy: "interrupt" }],
        ["/api/chat/send", { conversation_id: chat, message: "Hello" }],
        ["/chats", {}],
      ] as const) {
        expectProblem(await parts.app.call("POST", path, other, key), 422, "idempotency_mismatch");
      }
      expect((await parts.app.call("GET", `/chats/${chat}`)).json.message_count).toBe(2);
    });

    it("are refused where it is none, on every route that takes one, and nothing is made", async () => {
      const chat = await newChat();
      const before = (await parts.app.call("GET", "/chats")).json.total;
      for (const key of ["", "two words", "ü", "x".repeat(256)]) {
        for (const [path, body] of [
          ["/chats", {}],
          ["/conversations", {}],
          ["/api/v1/chats", {}],
          ...routes.map(({ path, body }) => [path(chat), body(chat)] as const),
        ] as const) {
          const refused = await parts.app.call("POST", path, body, { "idempotency-key": key });
          expectProblem(refused, 422, "validation_failed");
        }
      }
      expect((await parts.app.call("GET", "/chats")).json.total).toBe(before);
      const longest = { "idempotency-key": "~".repeat(255) };
      expect((await parts.app.call("POST", "/chats", {}, longest)).status).toBe(201);
    });

    it("make one conversation, however often they ask, and answer with it", async () => {
      for (const [path, status] of [
        ["/chats", 201],
        ["/conversations", 200],
        ["/api/v1/chats", 200],
      ] as const) {
        const key = newKey();
        const first = await parts.app.call("POST", path, {}, key);
        expect(first.status).toBe(status);
        expect(first.json.id ?? first.json.chat_id).toMatch(UUID);
        const again = await parts.app.call("POST", path, {}, key);
        expect([again.status, again.json]).toEqual([status, first.json]);
      }
    });
  });

  declares(parts);
});

describe("streams of a closed service", () => {
  const parts = useApp({ JWT_SECRET: SECRET });

  it("and turns are their owner's: to a stranger they look as if they were not", async () => {
    const [ada, eve] = [await as("ada"), await as("eve")];
    const chat_id = (await parts.app.call("POST", "/chats", {}, ada)).json.id;
    const { turn_id, message_id } = (await parts.app.call("POST", "/chat", { chat_id, message: "Hi" }, ada)).json;
    for (const [method, path] of [
      ["GET", `/api/v1/turns/${turn_id}`],
      ["GET", `/api/v1/turns/${turn_id}/stream`],
      ["POST", `/api/v1/turns/${turn_id}/cancel`],
      ["POST", `/api/v1/messages/${message_id}/regenerate`],
      ["GET", `/api/v1/messages/${message_id}/alternatives`],
    ] as const) {
      expectProblem(await parts.app.call(method, path), 401, "unauthorized");
      const [foreign, missing] = await Promise.all(
        [path, path.replace(/[0-9a-f-]{36}/, NOBODY)].map((one) => parts.app.call(method, one, undefined, eve)),
      );
      if (!foreign || !missing) throw new Error("no answer");
      expectProblem(foreign, 404, "not_found");
      expect({ ...foreign.json, request_id: "" }).toEqual({ ...missing.json, request_id: "" });
    }
    const stream = await openStream(parts.app, "GET", `/api/v1/turns/${turn_id}/stream`, undefined, ada);
    expect((await stream.end()).map(({ event }) => event)).toEqual(["turn.started", "message.delta", "turn.completed"]);
    expect(parts.provider.asked).toHaveLength(1);
  });

  declares(parts);
});
