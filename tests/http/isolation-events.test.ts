import { randomUUID } from "node:crypto";
import { beforeAll, describe, expect, it } from "vitest";
import { as, SECRET } from "../support/app.ts";
import { databases } from "../support/databases.ts";
import { expectProblem } from "../support/http-expect.ts";
import { declares, useApp } from "../support/http-setup.ts";
import { type Frame, openStream, type Stream } from "../support/http-stream.ts";

type Headers = Record<string, string>;
/** A session, whose it is, and a word that nothing else holds. */
type Side = { who: Headers; user: string; id: string; word: string };

const SAID_LAST = "That was all.";

describe.each(databases)("events on $database", ({ fresh }) => {
  const parts = useApp({ JWT_SECRET: SECRET }, fresh);
  const call = (who: Headers, method: string, path: string, body?: unknown) => parts.app.call(method, path, body, who);
  const watch = (who: Headers, path: string) => openStream(parts.app, "GET", path, undefined, who);

  let agent: Headers;
  let people = 0;
  beforeAll(async () => {
    agent = await as("agent-1", "agent");
  });

  async function begin(user = `user-${++people}`): Promise<Side> {
    const who = await as(user);
    const { id } = (await call(who, "POST", "/api/v1/sessions")).json;
    return { who, user, id, word: randomUUID().slice(0, 13) };
  }

  const say = ({ who, user, id }: Side, content: string, more: object = {}) => {
    const body = { content, sender_type: "user", sender_id: user, ...more };
    return call(who, "POST", `/api/v1/sessions/${id}/messages`, body);
  };

  /** Everything that happens in a session, with its word in each. */
  async function changeAll(side: Side): Promise<void> {
    const { who, user, id, word } = side;
    const extensions = [{ extension_type: "note", data: { of: word } }];
    const { id: message } = (await say(side, `Said ${word}`, { metadata: { of: word }, extensions })).json;
    await call(who, "POST", `/api/v1/sessions/${id}/typing`, { sender_id: user, typing: true });
    await call(who, "PATCH", `/api/v1/messages/${message}`, { content: `Edited ${word}` });
    await call(who, "POST", "/chat", { chat_id: id, message: `Answer ${word}` });
    await call(who, "PATCH", `/api/v1/sessions/${id}`, { metadata: { of: word } });
    await call(who, "DELETE", `/api/v1/messages/${message}`);
    await call(who, "POST", `/api/v1/sessions/${id}/transfer`, { to: "agent" });
    await call(agent, "POST", `/api/v1/sessions/${id}/accept`);
    await say(side, SAID_LAST);
  }

  async function heard(stream: Stream): Promise<string> {
    const isLast = ({ data }: Frame) => data.content === SAID_LAST;
    await stream.until((frames) => frames.some(isLast));
    await stream.leave();
    return stream.writes.join("");
  }

  /** What was told of one side holds its word, and nothing of the others. */
  function expectOnly(raw: string, side: Side, sides: readonly Side[]): void {
    expect(raw).toContain(side.word);
    for (const other of sides.filter(({ id }) => id !== side.id)) {
      for (const foreign of [other.id, other.word]) expect(raw).not.toContain(foreign);
      if (other.user !== side.user) expect(raw).not.toContain(other.user);
    }
  }

  it("of one session reach no reader of another, though all change at once", async () => {
    const ann = await begin();
    const sides = [ann, await begin(), await begin(ann.user)];
    const gate = Promise.withResolvers<void>();
    parts.provider.behave(() => ({ before: (piece) => (piece < 2 ? Promise.resolve() : gate.promise) }));
    const streams: { side: Side; stream: Stream }[] = [];
    for (const side of sides) {
      for (const who of [side.who, side.who, agent]) {
        streams.push({ side, stream: await watch(who, `/api/v1/sessions/${side.id}/events`) });
      }
    }
    const changed = Promise.all(sides.map(changeAll));
    for (const { stream } of streams) await stream.until("message.delta");
    gate.resolve();
    await changed;
    for (const { side, stream } of streams) {
      const raw = await heard(stream);
      expectOnly(raw, side, sides);
      expect(new Set(raw.match(/^event: (message|session|typing)$/gm)).size).toBe(3);
    }
  });

  it("tell an agent who watches over its own of sessions as such, and of nothing said in them", async () => {
    const sides = [await begin(), await begin()];
    const stream = await watch(agent, "/api/v1/agents/agent-1/events");
    await Promise.all(sides.map(changeAll));
    for (const { id } of sides) {
      await stream.until((frames) => frames.some(({ data }) => data.id === id && data.agent_id === "agent-1"));
    }
    await stream.leave();
    const { conversation_id: hidden } = (
      await call((await begin()).who, "POST", "/api/chat/send", { message: "Not live" })
    ).json;
    expect(stream.writes.join("")).not.toContain(hidden);
    expect(
      stream.writes
        .join("")
        .match(/^event: .*$/gm)
        ?.every((name) => name === "event: session"),
    ).toBe(true);
  });

  it("are none of what strangers try", async () => {
    const [ann, bob] = [await begin(), await begin()];
    const { json: said } = await say(ann, "Mine");
    const stream = await watch(ann.who, `/api/v1/sessions/${ann.id}/events`);
    await stream.until("message");
    const at = `/api/v1/sessions/${ann.id}`;
    const tried: [string, string, object?][] = [
      ["POST", `${at}/typing`, { sender_id: bob.user, typing: true }],
      ["POST", `${at}/messages`, { content: "Foreign", sender_type: "user", sender_id: bob.user }],
      ["POST", `${at}/transfer`, { to: "agent" }],
      ["POST", `${at}/end`],
      ["POST", `${at}/read`, { seq: 1 }],
      ["PATCH", at, { metadata: { foreign: true } }],
      ["PATCH", `/api/v1/messages/${said.id}`, { content: "Foreign" }],
      ["DELETE", `/api/v1/messages/${said.id}`],
      ["POST", `/api/v1/messages/${said.id}/extensions`, { extension_type: "note", data: {} }],
    ];
    for (const [method, path, body] of tried) expectProblem(await call(bob.who, method, path, body), 404, "not_found");
    const before = stream.writes.length;
    await say(ann, SAID_LAST);
    await heard(stream);
    const since = stream.writes.slice(before).join("");
    expect(since.match(/^event: .*$/gm)?.sort()).toEqual(["event: message", "event: session"]);
    expect(since).not.toContain(bob.user);
  });

  it.each(["0", "1", "999999999"])("are none for a stranger who goes on from revision %s", async (revision) => {
    const [ann, bob] = [await begin(), await begin()];
    await say(ann, "Mine");
    const at = `/api/v1/sessions/${ann.id}/events`;
    expectProblem(await call({ ...bob.who, "last-event-id": revision }, "GET", at), 404, "not_found");
    expectProblem(await call(bob.who, "GET", `${at}?after=${revision}`), 404, "not_found");
    const own = await watch({ ...ann.who, "last-event-id": "0" }, at); // a watched session is no more open than others
    await own.until("message");
    expectProblem(await call({ ...bob.who, "last-event-id": revision }, "GET", at), 404, "not_found");
    await own.leave();
  });

  it("end with a session that is deleted, and tell nothing of what comes under no id", async () => {
    const ann = await begin();
    await say(ann, "Mine");
    const stream = await watch(ann.who, `/api/v1/sessions/${ann.id}/events`);
    await stream.until("message");
    expect((await call(ann.who, "DELETE", `/chats/${ann.id}`)).status).toBe(204);
    await stream.end();
    expectProblem(await call(ann.who, "GET", `/api/v1/sessions/${ann.id}/events`), 404, "not_found");
  });

  declares(parts);
});
