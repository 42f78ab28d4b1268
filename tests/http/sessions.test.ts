import { describe, expect, it } from "vitest";
import { databases } from "../support/databases.ts";
import { expectProblem, laterMillisecond, NOBODY, nextLink, time, uuid } from "../support/http-expect.ts";
import { asAgent, asUser, sessionCalls } from "../support/http-sessions.ts";
import { declares, useApp } from "../support/http-setup.ts";

describe.each(databases)("sessions on $database", ({ fresh }) => {
  const parts = useApp({}, fresh);
  const { create, end, transfer, accept, patch, say, get, messages, call } = sessionCalls(parts);

  it("are made with nothing at all, or with all that there is", async () => {
    const plain = await call("POST", "/sessions");
    expect(plain.status).toBe(201);
    expect(plain.json).toEqual({
      id: uuid,
      user_id: "anonymous",
      agent_id: null,
      status: "active",
      control: "assistant",
      title: null,
      metadata: {},
      rev: 0,
      message_count: 0,
      previous_session_id: null,
      is_live: true,
      created_at: time,
      updated_at: plain.json.created_at,
      ended_at: null,
    });
    const whole = {
      user_id: "alice",
      agent_id: "ann",
      metadata: { topic: "money", nested: [{ a: null }] },
      previous_session_id: (await create({}, { user_id: "alice" })).id,
    };
    const made = await create({}, whole);
    expect(made).toMatchObject({ ...whole, control: "agent", status: "active" });
    expect((await get(made.id)).json).toEqual({ ...made, unread: 0, messages: [] });
  });

  it("store no field that is not theirs", async () => {
    const { id } = await create({}, { status: "ended", control: "agent", rev: 99, is_live: false, admin: true });
    await patch(id, {
      metadata: { a: 1 },
      control: "agent",
      title: "Mine",
      rev: 99,
      ended_at: "2020-01-01T00:00:00.000Z",
    });
    const session = (await get(id)).json;
    expect(session).toMatchObject({ status: "active", control: "assistant", rev: 1, is_live: true, title: null });
    expect(session.metadata).toEqual({ a: 1 });
  });

  it("are the conversations of all surfaces: what is made on another is one here", async () => {
    const { id } = (await parts.app.call("POST", "/chats", { user_id: "alice" })).json;
    expect((await get(id)).json).toMatchObject({ id, user_id: "alice", is_live: false, control: "assistant" });
    expect((await transfer(id, { to: "agent" })).json).toMatchObject({ is_live: true, control: "queue" });
  });

  it("show their newest 100 messages, oldest first", async () => {
    const { id } = await create();
    for (let i = 0; i < 103; i++) await say(id, asUser("alice", `${i}`));
    const { json } = await get(id);
    expect(json.messages.map(({ content }: { content: string }) => content)).toEqual(
      Array.from({ length: 100 }, (_, i) => `${i + 3}`),
    );
    expect(json.message_count).toBe(103);
  });

  it("go from hand to hand, and each answer is how it stands then", async () => {
    const { id } = await create({}, { user_id: "alice" });
    const states = [
      await transfer(id, { to: "agent", reason: "A refund" }),
      await accept(id, {}, { agent_id: "ann" }),
      await transfer(id, { to: "agent", agent_id: "ben" }),
      await transfer(id, { to: "agent" }),
      await patch(id, { agent_id: "cat", status: "transferred" }),
      await patch(id, { agent_id: "cat" }),
      await transfer(id, { to: "assistant" }),
      await patch(id, { status: "transferred" }),
      await patch(id, { status: "transferred" }),
      await patch(id, { status: "active" }),
      await patch(id, { status: "active" }),
      await end(id, {}, { reason: "Solved" }),
      await end(id),
    ].map(({ status, json }) => [status, json.status, json.control, json.agent_id, json.rev]);
    expect(states).toEqual([
      [200, "transferred", "queue", null, 1],
      [200, "transferred", "agent", "ann", 2],
      [200, "transferred", "agent", "ben", 3],
      [200, "transferred", "queue", null, 4],
      [200, "transferred", "agent", "cat", 5],
      [200, "transferred", "agent", "cat", 5],
      [200, "active", "assistant", null, 6],
      [200, "transferred", "queue", null, 7],
      [200, "transferred", "queue", null, 7],
      [200, "active", "assistant", null, 8],
      [200, "active", "assistant", null, 8],
      [200, "ended", "assistant", null, 9],
      [200, "ended", "assistant", null, 9],
    ]);
    const notes = (await messages(id)).map(({ sender_type, sender_id, metadata }: Record<string, unknown>) => [
      sender_type,
      sender_id,
      metadata,
    ]);
    expect(notes[0]).toEqual(["system", "system", { event: "to_queue", by: "anonymous", reason: "A refund" }]);
    expect(notes[1]).toEqual(["system", "system", { event: "to_agent", by: "anonymous", agent_id: "ann" }]);
    expect(notes.at(-1)).toEqual(["system", "system", { event: "ended", by: "anonymous", reason: "Solved" }]);
    expect((await get(id)).json).toMatchObject({ ended_at: time, message_count: 0 });
  });

  it("say why they do not move, and how they stand", async () => {
    const { id } = await create();
    const early = await accept(id, {}, { agent_id: "ann" });
    expectProblem(early, 409, "unlawful_move");
    expect(early.json.detail).toContain("the assistant is in control");
    await transfer(id, { to: "agent" });
    const twice = await transfer(id, { to: "agent" });
    expectProblem(twice, 409, "unlawful_move");
    expect(twice.json.detail).toContain("waits for an agent");
    await accept(id, {}, { agent_id: "ann" });
    expectProblem(await accept(id, {}, { agent_id: "ben" }), 409, "already_accepted");
  });

  it("say what is wrong with a body, and change nothing", async () => {
    const { id } = await create();
    const wrong = [
      [await transfer(id, {}), "to"],
      [await transfer(id, { to: "moon" }), "to"],
      [await transfer(id, { to: "agent", agent_id: "" }), "agent_id"],
      [await end(id, {}, { reason: "x".repeat(501) }), "reason"],
      [await patch(id, { status: "gone" }), "status"],
      [await patch(id, { agent_id: "ann", status: "ended" }), "agent_id"],
      [await patch(id, { agent_id: "ann", status: "active" }), "agent_id"],
      [await patch(id, { metadata: [] }), "metadata"],
      [await patch(id, { metadata: { a: "x".repeat(16_384) } }), "metadata"],
      [await patch(id, { metadata: { a: { a: { a: { a: { a: { a: { a: { a: {} } } } } } } } } }), "metadata"],
      [await call("POST", `/sessions/${id}/read`, {}), "seq"],
      [await call("POST", `/sessions/${id}/read`, { seq: -1 }), "seq"],
      [await call("POST", `/sessions/${id}/typing`, { sender_id: "alice" }), "typing"],
      [await call("POST", "/sessions", { user_id: "x".repeat(256) }), "user_id"],
      [await call("POST", "/sessions", { previous_session_id: "1" }), "previous_session_id"],
      [await get("1"), "session_id"],
    ] as const;
    for (const [refused, path] of wrong) {
      expectProblem(refused, 422, "validation_failed");
      expect(refused.json.errors).toMatchObject([{ path }]);
    }
    expect((await get(id)).json).toMatchObject({ rev: 0, metadata: {} });
  });

  it("hold metadata of 8 levels and 16 KiB", async () => {
    const { id } = await create();
    const deep = { a: { a: { a: { a: { a: { a: { a: {} } } } } } } }; // with itself 8 levels
    expect((await patch(id, { metadata: deep })).json.metadata).toEqual(deep);
    const large = { a: null, text: "x".repeat(16_384 - '{"text":""}'.length - '"a":null,'.length) };
    expect((await patch(id, { metadata: large })).json.metadata).toEqual({ text: large.text });
  });

  it("that are not there are 404", async () => {
    const seen = [
      await get(NOBODY),
      await end(NOBODY),
      await transfer(NOBODY, { to: "agent" }),
      await accept(NOBODY),
      await patch(NOBODY, { metadata: {} }),
      await say(NOBODY, asUser("alice", "x")),
      await call("GET", `/sessions/${NOBODY}/messages`),
      await call("POST", `/sessions/${NOBODY}/read`, { seq: 1 }),
      await call("POST", `/sessions/${NOBODY}/typing`, { sender_id: "alice", typing: true }),
      await call("GET", `/sessions/${NOBODY}/transcript`),
      await call("POST", "/sessions", { previous_session_id: NOBODY }),
    ];
    for (const one of seen) expectProblem(one, 404, "not_found");
  });

  it("are made once with one key, which gives the first answer again", async () => {
    const key = { "idempotency-key": "one-session" };
    const body = { user_id: "keyed", metadata: { a: 1 } };
    const [first, second] = await Promise.all([
      call("POST", "/sessions", body, key),
      call("POST", "/sessions", body, key),
    ]);
    expect(second.json).toEqual(first.json);
    await end(first.json.id);
    expect((await call("POST", "/sessions", body, key)).json).toEqual(first.json);
    expectProblem(await call("POST", "/sessions", { user_id: "keyed" }, key), 422, "idempotency_mismatch");
    expect((await call("GET", "/users/keyed/sessions")).json).toHaveLength(1);
  });

  it("are listed for a user by pages that repeat nothing, the ended ones left out where they are not wanted", async () => {
    const ids: string[] = [];
    for (let i = 0; i < 5; i++) {
      ids.push((await create({}, { user_id: "many" })).id);
      await laterMillisecond();
    }
    await create({}, { user_id: "many-more" });
    await end(ids[1] ?? "");
    await laterMillisecond();
    await end(ids[3] ?? "");
    const all = async (query: string) => {
      const seen: string[] = [];
      for (let path: string | undefined = `/api/v1/users/many/sessions?limit=2${query}`; path; ) {
        const page = await parts.app.call("GET", path);
        expect(page.json.length).toBeLessThanOrEqual(2);
        seen.push(...page.json.map((one: { id: string }) => one.id));
        path = nextLink(page);
      }
      return seen;
    };
    expect(await all("")).toEqual([3, 1, 4, 2, 0].map((i) => ids[i]));
    expect(await all("&active_only=true")).toEqual([4, 2, 0].map((i) => ids[i]));
    expect(await all("&active_only=false&offset=1")).toEqual([1, 4, 2, 0].map((i) => ids[i]));
    expectProblem(await call("GET", "/users/many/sessions?active_only=perhaps"), 422, "validation_failed");
  });

  it("tell their reader what is unread, in the list too", async () => {
    const { id } = await create({}, { user_id: "reader" });
    await say(id, asUser("reader", "Hello"));
    await say(id, asAgent("ann", "Hi"));
    await say(id, asAgent("ann", "How are you?"));
    const unread = async (reader: string) => (await get(`${id}?user_id=${reader}`)).json.unread;
    expect(await unread("reader")).toBe(2);
    expect((await call("GET", "/users/reader/sessions")).json).toMatchObject([{ id, unread: 2 }]);
    const { seq } = (await messages(id))[1];
    expect((await call("POST", `/sessions/${id}/read`, { seq, user_id: "reader" })).status).toBe(204);
    expect(await unread("reader")).toBe(1);
  });

  declares(parts);
});
