import { Hono } from "hono";
import { beforeEach, describe, expect, it } from "vitest";
import type { HttpEnv } from "../../src/http/env.ts";
import { claimStream, holdStream, limitStreams } from "../../src/http/open-streams.ts";
import { as, SECRET } from "../support/app.ts";
import { expectProblem, NOBODY } from "../support/http-expect.ts";
import { declares, useApp } from "../support/http-setup.ts";
import { openStream, type Stream } from "../support/http-stream.ts";

type Headers = Record<string, string>;

let users = 0;

describe("at most two open streams for each user", () => {
  const limits = { MAX_STREAMS_PER_USER: "2", MAX_TURNS_PER_USER: "off" };
  const parts = useApp({ JWT_SECRET: SECRET, RATE_LIMIT: "600/m", ...limits }, undefined, () => ({
    text: ["Half"],
    afterwards: "stall",
  }));
  let user: Headers;
  beforeEach(async () => {
    user = await as(`streaming-${++users}`);
  });
  const call = (method: string, path: string, body?: unknown, headers: Headers = {}) =>
    parts.app.call(method, path, body, { ...user, ...headers });
  const newChat = async (): Promise<string> => (await call("POST", "/chats", {})).json.id;
  const send = (body: object = {}, who = user): Promise<Stream> =>
    openStream(parts.app, "POST", "/api/chat/send", { message: "Hello", stream: true, ...body }, who);
  const follow = (turn: string, headers: Headers = {}): Promise<Stream> =>
    openStream(parts.app, "GET", `/api/v1/turns/${turn}/stream`, undefined, { ...user, ...headers });

  /** Two streams that do not end by themselves. */
  async function givenTwo(): Promise<[Stream, Stream]> {
    const both: [Stream, Stream] = [await send(), await send()];
    for (const stream of both) await stream.until("message.delta");
    return both;
  }
  const turnOf = async (stream: Stream): Promise<string> => (await stream.until("turn.started"))[0]?.data.turn_id;
  const cancel = async (stream: Stream) => call("POST", `/api/v1/turns/${await turnOf(stream)}/cancel`);
  /** Whether so many more may be opened: those that could be are closed again. */
  async function expectRoom(room: number): Promise<void> {
    const opened: Stream[] = [];
    for (let i = 0; i < room + 1; i++) opened.push(await send());
    expect(opened.map(({ status }) => status)).toEqual([...Array<number>(room).fill(200), 429]);
    for (const stream of opened) await stream.leave();
  }

  it("refuse a third, of whatever route, and begin nothing for it", async () => {
    const [first] = await givenTwo();
    const chat_id = await newChat();
    const asked = parts.provider.asked.length;
    for (const [path, body] of [
      ["/chat", { chat_id, message: "Hello" }],
      ["/api/chat/send", { message: "Hello" }],
      ["/generate-response", { message: "Hello", chat_id }],
      ["/api/v1/chat/message", { chat_id, content: "Hello" }],
      [`/conversations/${chat_id}/ask-message`, { content: "Hello" }],
    ] as const) {
      for (const [more, headers] of [
        [{ stream: true }, {}],
        [{}, { accept: "text/event-stream" }],
      ] as const) {
        const refused = await call("POST", path, { ...body, ...more }, headers);
        expectProblem(refused, 429, "rate_limited");
        expect(refused.headers.get("retry-after")).toBe("1");
        expect(refused.headers.get("ratelimit-policy")).toMatch(/^"requests";q=600;w=60, "streams";q=2$/);
        expect(refused.headers.get("ratelimit")).toMatch(/^"requests";r=\d+;t=\d+, "streams";r=0;t=1$/);
      }
    }
    expectProblem(await call("GET", `/api/v1/turns/${await turnOf(first)}/stream`), 429, "rate_limited");
    expect((await call("GET", `/chats/${chat_id}`)).json.message_count).toBe(0);
    expect((await call("GET", "/chats")).json.total).toBe(3);
    expect(parts.provider.asked).toHaveLength(asked);
  });

  it("hold nobody to them who wants the answer whole, and no other user", async () => {
    await givenTwo();
    parts.provider.behave(() => ({}));
    expect((await call("POST", "/api/chat/send", { message: "Hello" })).status).toBe(200);
    const other = await send({}, await as("other"));
    expect((await other.end()).at(-1)?.event).toBe("turn.completed");
  });

  it("leave room again when a client goes away", async () => {
    const [first, second] = await givenTwo();
    await first.leave();
    await expectRoom(1);
    await second.leave();
    await second.leave(); // frees no place twice
    await expectRoom(2);
  });

  it("leave room again when a stream ends", async () => {
    const [first] = await givenTwo();
    await cancel(first);
    expect((await first.end()).at(-1)?.event).toBe("turn.cancelled");
    await expectRoom(1);
  });

  it("leave room again where a stream was asked for, and a problem or nothing came", async () => {
    const [first, second] = await givenTwo();
    await cancel(first);
    await first.end();
    const turn = await turnOf(first);
    for (let i = 0; i < 3; i++) {
      expect((await send({ conversation_id: NOBODY })).status).toBe(404);
      expect((await send({ model: "nonsense" })).status).toBe(422);
      expect((await call("GET", `/api/v1/turns/${NOBODY}/stream`)).status).toBe(404);
      expect((await call("POST", "/chat", { chat_id: 7, stream: true })).status).toBe(422);
      expect((await call("GET", `/api/v1/turns/${turn}/stream`, undefined, { "last-event-id": "0-end" })).status).toBe(
        204,
      );
      const head = await parts.app.request(`/api/v1/turns/${turn}/stream`, { method: "HEAD", headers: user });
      expect([head.status, head.text]).toEqual([200, ""]);
    }
    await expectRoom(1);
    await second.leave();
  });

  it("count those that follow a turn, also one that has ended", async () => {
    parts.provider.behave(() => ({}));
    const ended = await send();
    await ended.end();
    const turn = await turnOf(ended);
    for (let i = 0; i < 4; i++) {
      const replayed = await follow(turn);
      expect((await replayed.end()).at(-1)?.event).toBe("turn.completed");
    }
    parts.provider.behave(() => ({ text: ["Half"], afterwards: "stall" }));
    const running = await send();
    await follow(await turnOf(running));
    await expectRoom(0);
  });

  declares(parts);
});

it("frees the place of a stream once, however often it ends", async () => {
  const ends: (() => void)[] = [];
  const app = new Hono<HttpEnv>().use(limitStreams(2)).get("/", (c) => {
    claimStream(c, "ann");
    ends.push(holdStream(c));
    return c.text("begun");
  });
  app.onError((_, c) => c.text("refused"));
  const begin = async () => (await app.request("/")).text();
  expect([await begin(), await begin(), await begin()]).toEqual(["begun", "begun", "refused"]);
  ends[0]?.();
  ends[0]?.(); // as where its client leaves while it fails
  expect([await begin(), await begin()]).toEqual(["begun", "refused"]);
});
