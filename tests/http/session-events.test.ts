import { describe, expect, it, onTestFinished } from "vitest";
import { as, SECRET } from "../support/app.ts";
import { databases } from "../support/databases.ts";
import { expectProblem, NOBODY, PATIENT } from "../support/http-expect.ts";
import { declares, useApp } from "../support/http-setup.ts";
import { framesOf, openStream, type Stream } from "../support/http-stream.ts";
import { createGate } from "../support/stream-gate.ts";

describe.each(databases)("the events of a session on $database", ({ fresh }) => {
  const parts = useApp({ JWT_SECRET: SECRET, MAX_STREAMS_PER_USER: "100" }, fresh);
  const call = async (who: string, role: "user" | "agent" | "admin", method: string, path: string, body?: unknown) =>
    parts.app.call(method, path, body, await as(who, role));
  const user = (method: string, path: string, body?: unknown) => call("ada", "user", method, path, body);
  const agent = (method: string, path: string, body?: unknown) => call("grace", "agent", method, path, body);
  const newSession = async (): Promise<string> => (await user("POST", "/api/v1/sessions")).json.id;
  const say = (id: string, content: string, more: object = {}) =>
    user("POST", `/api/v1/sessions/${id}/messages`, { content, sender_type: "user", sender_id: "ada", ...more });

  async function watch(path: string, { who = "ada", role = "user", lastEventId }: Watching = {}): Promise<Stream> {
    const headers = { ...(await as(who, role)), ...(lastEventId && { "last-event-id": lastEventId }) };
    const stream = await openStream(parts.app, "GET", path, undefined, headers);
    onTestFinished(() => stream.leave());
    return stream;
  }
  type Watching = { who?: string; role?: "user" | "agent" | "admin"; lastEventId?: string };
  const eventsOf = (id: string) => `/api/v1/sessions/${id}/events`;
  /** Reads on until a frame has this id; gives all frames so far. */
  async function upTo(stream: Stream, id: number) {
    const frames = () => framesOf(stream.writes.join(""));
    while (!frames().some((frame) => frame.id === String(id))) await stream.more();
    return frames();
  }

  it("name a revision on its last row only, so that whoever resumes there misses nothing", async () => {
    const id = await newSession();
    await say(id, "Hello");
    await user("POST", `/api/v1/sessions/${id}/transfer`, { to: "agent" }); // the session and a note share a revision
    const { rev } = (await user("GET", `/api/v1/sessions/${id}`)).json;
    const stream = await watch(eventsOf(id));
    const frames = await upTo(stream, rev);
    expect(frames.map((frame) => [frame.event, frame.id])).toEqual([
      ["message", "1"],
      ["session", undefined],
      ["message", "2"],
    ]);
    const { messages, unread: _, ...session } = (await user("GET", `/api/v1/sessions/${id}`)).json;
    expect(frames.filter(({ event }) => event === "message").map(({ data }) => data)).toEqual(messages);
    expect(frames[1]?.data).toEqual(session);

    const later = [await watch(`${eventsOf(id)}?after=1`), await watch(eventsOf(id), { lastEventId: "1" })];
    later.push(await watch(`${eventsOf(id)}?after=0`, { lastEventId: "1" })); // the newer word is the header's
    for (const one of later) expect((await upTo(one, rev)).map((frame) => frame.id)).toEqual([undefined, "2"]);
  });

  it("tell of an answer as it grows, without ids, and of who types", async () => {
    const gate = createGate(["Hi ", "👋"]);
    parts.provider.behave(() => gate.script);
    const id = await newSession();
    const stream = await watch(eventsOf(id));
    const { turn } = (await say(id, "Hello", { reply: true })).json;
    await upTo(stream, 2);
    expect((await user("POST", `/api/v1/sessions/${id}/typing`, { sender_id: "ada", typing: true })).status).toBe(204);
    expect((await stream.until("typing")).at(-1)).toMatchObject({
      id: undefined,
      data: { sender_id: "ada", typing: true },
    });
    gate.next();
    await stream.until("message.delta");
    gate.open();
    const frames = await upTo(stream, 3);
    const deltas = frames.filter(({ event }) => event === "message.delta");
    expect(deltas.map(({ id, data }) => ({ id, ...data }))).toEqual([
      { id: undefined, message_id: turn.message_id, turn_id: turn.id, n: 0, offset: 0, text: "Hi " },
      { id: undefined, message_id: turn.message_id, turn_id: turn.id, n: 0, offset: 3, text: "👋" },
    ]);
    expect(frames.at(-1)).toMatchObject({ event: "message", data: { status: "completed", content: "Hi 👋" } });
  });

  it("show what is deleted to an admin, and a blank to everybody else, over one connection after the other", async () => {
    const id = await newSession();
    const { id: message } = (await say(id, "a secret")).json;
    const streams = [await watch(eventsOf(id)), await watch(eventsOf(id), { who: "root", role: "admin" })];
    for (const stream of streams) await upTo(stream, 1);
    await user("DELETE", `/api/v1/messages/${message}`);
    const [own, admin] = await Promise.all(streams.map((stream) => upTo(stream, 2)));
    expect(own?.at(-1)?.data).toMatchObject({ is_deleted: true, content: "" });
    expect(admin?.at(-1)?.data).toMatchObject({ is_deleted: true, content: "a secret" });
  });

  it("end when the session is deleted", async () => {
    const id = await newSession();
    await say(id, "Hello");
    const stream = await watch(eventsOf(id));
    await upTo(stream, 1);
    await user("DELETE", `/chats/${id}`);
    await stream.end();
  });

  it("are nobody else's: 404 for a stranger and for what there is not, 422 for what is no revision", async () => {
    const id = await newSession();
    expectProblem(await call("eve", "user", "GET", eventsOf(id)), 404, "not_found");
    expectProblem(await user("GET", eventsOf(NOBODY)), 404, "not_found");
    expectProblem(await user("GET", `${eventsOf(id)}?after=-1`), 422, "validation_failed");
    expectProblem(await user("GET", `${eventsOf(id)}?after=1e3`), 422, "validation_failed");
    const typing = `/api/v1/sessions/${id}/typing`;
    expectProblem(await call("eve", "user", "POST", typing, { sender_id: "eve", typing: true }), 404, "not_found");
    expectProblem(await user("POST", typing, { sender_id: "eve", typing: true }), 403, "forbidden");
    await user("POST", `/api/v1/sessions/${id}/end`);
    expectProblem(await user("POST", typing, { sender_id: "ada", typing: true }), 409, "session_ended");
  });

  describe("and what agents have before them", () => {
    const queued = async () => (await agent("GET", "/api/v1/queue?limit=200")).json.map(({ id }: { id: string }) => id);

    it("is a queue, longest waiting first, and each agent's events: who waits, whom it has, who waits no more", async () => {
      const earlier = await newSession();
      await user("POST", `/api/v1/sessions/${earlier}/transfer`, { to: "agent" });
      const stream = await watch("/api/v1/agents/grace/events", { who: "grace", role: "agent" });
      await stream.until("session");
      const id = await newSession();
      await user("POST", `/api/v1/sessions/${id}/transfer`, { to: "agent" });
      const states = async (count: number) => {
        const frames = () => framesOf(stream.writes.join("")).filter(({ data }) => data.id === id);
        while (frames().length < count) await stream.more();
        return frames().map(({ id: sse, data }) => [sse, data.control, data.agent_id]);
      };
      expect(await states(1)).toEqual([[undefined, "queue", null]]);
      expect((await queued()).slice(-2)).toEqual([earlier, id]);
      await agent("POST", `/api/v1/sessions/${id}/accept`);
      expect((await states(2)).at(-1)).toEqual([undefined, "agent", "grace"]);
      expect(await queued()).not.toContain(id);
      await say(id, "Are you there?");
      await states(3);
      await agent("POST", `/api/v1/sessions/${id}/transfer`, { to: "assistant" });
      expect((await states(4)).at(-1)).toEqual([undefined, "assistant", null]);
      await say(id, "Hello again"); // is not grace's any more
      await user("DELETE", `/chats/${earlier}`);
      const other = await newSession();
      await user("POST", `/api/v1/sessions/${other}/transfer`, { to: "agent" });
      await expect
        .poll(async () => {
          await stream.more();
          return framesOf(stream.writes.join("")).some(({ data }) => data.id === other);
        }, PATIENT)
        .toBe(true);
      expect(await states(4)).toHaveLength(4);
    });

    it("is for agents: 403 for a user, and for an agent who asks as another", async () => {
      expectProblem(await user("GET", "/api/v1/queue"), 403, "forbidden");
      expectProblem(await user("GET", "/api/v1/agents/ada/events"), 403, "forbidden");
      expectProblem(await agent("GET", "/api/v1/agents/ada/events"), 403, "forbidden");
      const admin = await watch("/api/v1/agents/grace/events", { who: "root", role: "admin" });
      expect(admin.status).toBe(200);
    });
  });

  declares(parts);
});
