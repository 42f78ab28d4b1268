import { createHash, randomUUID } from "node:crypto";
import { beforeAll, beforeEach, describe, expect, it } from "vitest";
import { as, SECRET } from "../support/app.ts";
import { databases } from "../support/databases.ts";
import { expectProblem } from "../support/http-expect.ts";
import { bearer } from "../support/http-keys.ts";
import { declares, useApp } from "../support/http-setup.ts";
import { type Frame, openStream } from "../support/http-stream.ts";

type Headers = Record<string, string>;
const KEY = "desk-key-of-the-tests";
const API_KEYS = `desk:agent:${createHash("sha256").update(KEY).digest("hex")}`;

describe.each(databases)("agents on $database", ({ fresh }) => {
  const parts = useApp({ JWT_SECRET: SECRET, API_KEYS }, fresh);
  const call = (who: Headers, method: string, path: string, body?: unknown) => parts.app.call(method, path, body, who);
  const get = async (who: Headers, path: string) => (await call(who, "GET", path)).json;
  const say = (who: Headers, session: string, body: object) =>
    call(who, "POST", `/api/v1/sessions/${session}/messages`, { content: "Said", ...body });

  let agent: Headers;
  let colleague: Headers;
  let admin: Headers;
  /** A customer, and what is theirs. */
  let ann: string;
  let customer: Headers;
  let session: string;
  let message: string;
  let hidden: { conversation: string; message: string; turn: string };
  beforeAll(async () => {
    [agent, colleague] = [await as("agent-1", "agent"), await as("agent-2", "agent")];
    admin = await as("root", "admin");
  });
  beforeEach(async () => {
    ann = `ann-${randomUUID()}`;
    customer = await as(ann);
    session = (await call(customer, "POST", "/api/v1/sessions")).json.id;
    message = (await say(customer, session, { sender_type: "user", sender_id: ann })).json.id;
    const sent = (await call(customer, "POST", "/api/chat/send", { message: "For the assistant alone" })).json;
    const { user_message_id } = await get(customer, `/api/v1/turns/${sent.turn_id}`);
    hidden = { conversation: sent.conversation_id, message: user_message_id, turn: sent.turn_id };
  });

  /** What a stream tells until the frames are what is wanted; raw. */
  async function told(who: Headers, path: string, wanted: (frames: readonly Frame[]) => boolean): Promise<string> {
    const stream = await openStream(parts.app, "GET", path, undefined, who);
    await stream.until(wanted);
    await stream.leave();
    return stream.writes.join("");
  }
  const tells = (id: string) => (frames: readonly Frame[]) => frames.some(({ data }) => data.id === id);

  it("see every live session and all that is said in it, on every surface", async () => {
    const at = `/api/v1/sessions/${session}`;
    expect(await get(agent, at)).toMatchObject({ user_id: ann, messages: [{ id: message, content: "Said" }] });
    expect(await get(agent, `${at}/messages`)).toMatchObject([{ id: message }]);
    expect(await get(agent, `/api/v1/messages/${message}`)).toMatchObject({ id: message, sender_id: ann });
    expect(await get(agent, `${at}/transcript`)).toMatchObject({ messages: [{ id: message }] });
    expect(await told(agent, `${at}/events`, tells(message))).toContain("Said");
    expect(await get(agent, `/chats/${session}`)).toMatchObject({ id: session, user_id: ann });
    expect(await get(agent, `/chats/${session}/messages`)).toMatchObject([{ id: message }]);
    expect(await get(agent, `/conversations/${session}`)).toMatchObject({ messages: [{ id: message }] });
    expect(await get(agent, `/api/chat/conversations/${session}`)).toMatchObject({ id: session });
  });

  it("see a session still when it is back with the assistant, and when it has ended", async () => {
    const move = (to: string, body: object) => call(agent, "POST", `/api/v1/sessions/${session}/${to}`, body);
    for (const [to, body] of [
      ["transfer", { to: "agent" }],
      ["accept", {}],
      ["transfer", { to: "assistant" }],
      ["end", {}],
    ] as const) {
      expect((await move(to, body)).status).toBe(200);
      expect(await get(agent, `/api/v1/sessions/${session}`)).toMatchObject({ is_live: true });
    }
  });

  it("see of a user the live sessions alone, and count no others", async () => {
    const lists = [
      `/chats?user_id=${ann}`,
      `/conversations/?user_id=${ann}`,
      `/api/chat/conversations?user_id=${ann}`,
      `/api/v1/users/${ann}/sessions`,
      `/api/v1/users/${ann}/sessions?active_only=true&limit=1`,
    ];
    for (const path of lists) {
      const { text, status } = await call(agent, "GET", path);
      expect({ path, status }).toEqual({ path, status: 200 });
      expect(text).toContain(session);
      for (const part of [hidden.conversation, "For the assistant alone"]) expect(text).not.toContain(part);
    }
    expect(await get(agent, `/chats?user_id=${ann}&limit=1`)).toMatchObject({ total: 1, next_cursor: null });
    const { headers } = await call(agent, "GET", `/api/v1/users/${ann}/sessions?limit=1`);
    expect(headers.get("link")).toBeNull();
    expect(await get(customer, `/api/v1/users/${ann}/sessions`)).toHaveLength(2);
    expectProblem(await call(await as("bob"), "GET", `/api/v1/users/${ann}/sessions`), 403, "forbidden");
  });

  it("take a session over that was none, once its user has asked for an agent", async () => {
    const path = `/api/v1/sessions/${hidden.conversation}`;
    expectProblem(await call(agent, "GET", path), 404, "not_found");
    expectProblem(await call(agent, "POST", `${path}/transfer`, { to: "agent" }), 404, "not_found");
    expect((await call(customer, "POST", `${path}/transfer`, { to: "agent" })).status).toBe(200);
    expect((await call(agent, "POST", `${path}/accept`)).json).toMatchObject({ agent_id: "agent-1", is_live: true });
  });

  it("neither change nor take back what the customer, the assistant or another agent said", async () => {
    const theirs = (await say(colleague, session, { sender_type: "agent", sender_id: "agent-2" })).json.id;
    const { message_id: answer } = (await call(customer, "POST", "/chat", { chat_id: session, message: "Hello" })).json;
    const before = await get(customer, `/api/v1/sessions/${session}`);
    for (const id of [message, theirs, answer]) {
      expectProblem(await call(agent, "PATCH", `/api/v1/messages/${id}`, { content: "Other" }), 403, "forbidden");
      expectProblem(await call(agent, "DELETE", `/api/v1/messages/${id}`), 403, "forbidden");
      const named = `/api/v1/messages/${id}?user_id=${ann}`;
      expectProblem(await call(agent, "PATCH", named, { content: "Other" }), 403, "forbidden");
      expectProblem(await call(agent, "DELETE", named), 403, "forbidden");
    }
    expect(await get(customer, `/api/v1/sessions/${session}`)).toEqual(before);
    const own = (await say(agent, session, { sender_type: "system", sender_id: "agent-1" })).json.id;
    const edited = await call(agent, "PATCH", `/api/v1/messages/${own}`, { content: "Better" });
    expect(edited.json).toMatchObject({ content: "Better" });
    expectProblem(await call(customer, "DELETE", `/api/v1/messages/${own}`), 403, "forbidden");
    expect((await call(agent, "DELETE", `/api/v1/messages/${own}`)).status).toBe(200);
  });

  it("remove no extension of others, also not by the id of a message of their own", async () => {
    const hang = async (who: Headers, id: string) =>
      (await call(who, "POST", `/api/v1/messages/${id}/extensions`, { extension_type: "note", data: {} })).json.id;
    const own = (await say(agent, session, { sender_type: "agent", sender_id: "agent-1" })).json.id;
    const [hers, theirs] = [await hang(customer, message), await hang(colleague, message)];
    const before = await get(customer, `/api/v1/messages/${message}`);
    for (const id of [hers, theirs]) {
      expectProblem(await call(agent, "DELETE", `/api/v1/messages/${message}/extensions/${id}`), 403, "forbidden");
      expectProblem(await call(agent, "DELETE", `/api/v1/messages/${own}/extensions/${id}`), 404, "not_found");
    }
    expectProblem(await call(customer, "DELETE", `/api/v1/messages/${message}/extensions/${theirs}`), 403, "forbidden");
    expect(await get(customer, `/api/v1/messages/${message}`)).toEqual(before);
    expect((await call(colleague, "DELETE", `/api/v1/messages/${message}/extensions/${theirs}`)).status).toBe(204);
  });

  it("speak as themselves alone", async () => {
    const before = await get(customer, `/api/v1/sessions/${session}`);
    for (const sender_id of [ann, "agent-2", "nobody"]) {
      for (const sender_type of ["user", "agent", "system", "assistant"]) {
        for (const named of [{}, { user_id: ann }, { user_id: ann, reply: true }]) {
          const refused = await say(agent, session, { sender_type, sender_id, ...named });
          expectProblem(refused, 403, "forbidden");
        }
      }
      const typing = { sender_id, typing: true };
      expectProblem(await call(agent, "POST", `/api/v1/sessions/${session}/typing`, typing), 403, "forbidden");
      const named = `/api/v1/sessions/${session}/typing?user_id=${ann}`;
      expectProblem(await call(agent, "POST", named, typing), 403, "forbidden");
    }
    expectProblem(await say(agent, session, { sender_type: "assistant", sender_id: "agent-1" }), 403, "forbidden");
    for (const sender_type of ["agent", "system"]) {
      expectProblem(await say(customer, session, { sender_type, sender_id: ann }), 403, "forbidden");
    }
    expect(await get(customer, `/api/v1/sessions/${session}`)).toEqual(before);
  });

  it("speak as themselves also where they name the customer on another surface", async () => {
    await call(agent, "POST", "/chat", { chat_id: session, message: "A", user_id: ann });
    await call(agent, "POST", "/api/chat/send", { conversation_id: session, message: "B", user_id: ann });
    await call(agent, "POST", `/conversations/${session}/ask-message/?user_id=${ann}`, { content: "C" });
    await call(agent, "POST", "/generate-response", { chat_id: session, message: "D", user_id: ann });
    await call(agent, "POST", "/api/v1/chat/message", { chat_id: session, content: "E", user_id: ann });
    const posts: { sender_type: string; sender_id: string; content: string }[] = await get(
      customer,
      `/api/v1/sessions/${session}/messages`,
    );
    const said = posts.filter(({ sender_type }) => sender_type === "user").slice(1);
    expect(said.map(({ sender_id, content }) => `${content} ${sender_id}`)).toEqual(
      ["A", "B", "C", "D", "E"].map((content) => `${content} agent-1`),
    );
  });

  it("accept, watch and mark as themselves", async () => {
    await call(customer, "POST", `/api/v1/sessions/${session}/transfer`, { to: "agent" });
    const accept = `/api/v1/sessions/${session}/accept`;
    expectProblem(await call(agent, "POST", accept, { agent_id: "agent-2" }), 403, "forbidden");
    expectProblem(await call(customer, "POST", accept, { agent_id: ann }), 403, "forbidden");
    expectProblem(await call(agent, "GET", "/api/v1/agents/agent-2/events"), 403, "forbidden");
    expectProblem(await call(customer, "GET", `/api/v1/agents/${ann}/events`), 403, "forbidden");
    expect((await call(agent, "POST", accept)).json).toMatchObject({ agent_id: "agent-1" });
    expectProblem(await call(colleague, "POST", accept), 409, "already_accepted");
    expect((await call(agent, "POST", `/api/v1/sessions/${session}/read?user_id=${ann}`, { seq: 99 })).status).toBe(
      204,
    );
    const marked = async (who: Headers) => (await get(who, `/api/v1/sessions/${session}`)).unread;
    expect([await marked(agent), await marked(colleague)]).toEqual([0, 1]);
  });

  it("are told of what waits and of their own sessions, not of another agent's", async () => {
    const other = (await call(admin, "POST", "/api/v1/sessions", { user_id: ann, agent_id: "agent-2" })).json.id;
    const own = (await call(admin, "POST", "/api/v1/sessions", { user_id: ann, agent_id: "agent-1" })).json.id;
    await call(customer, "POST", `/api/v1/sessions/${session}/transfer`, { to: "agent" });
    const both = (frames: readonly Frame[]) => tells(own)(frames) && tells(session)(frames);
    const seen = await told(agent, "/api/v1/agents/agent-1/events", both);
    for (const id of [other, hidden.conversation]) expect(seen).not.toContain(id);
    const theirs = await told(admin, "/api/v1/agents/agent-2/events", tells(other));
    expect(theirs).not.toContain(own);
  });

  it("have keys of their own: the customer's Idempotency-Key gives them none of the customer's", async () => {
    const keyed = (who: Headers, body: object) =>
      say({ ...who, "idempotency-key": "the-key" }, session, { sender_type: "user", ...body });
    const hers = (await keyed(customer, { sender_id: ann })).json;
    const [own, again] = [await keyed(agent, { sender_id: "agent-1" }), await keyed(agent, { sender_id: "agent-1" })];
    expect(own.json.id).not.toBe(hers.id);
    expect(again.json).toEqual(own.json);
    const make = (who: Headers) =>
      call({ ...who, "idempotency-key": "another" }, "POST", "/api/v1/sessions", { user_id: ann });
    expect((await make(agent)).json.id).not.toBe((await make(customer)).json.id);
  });

  it("begin no session on one that they may not see", async () => {
    const begin = (who: Headers, previous_session_id: string) =>
      call(who, "POST", "/api/v1/sessions", { user_id: ann, previous_session_id });
    expectProblem(await begin(agent, hidden.conversation), 404, "not_found");
    expect((await begin(agent, session)).json).toMatchObject({ user_id: ann, previous_session_id: session });
    expect((await begin(customer, hidden.conversation)).status).toBe(201);
  });

  it("are overseen by admins, who see and may do everything", async () => {
    expect(await get(admin, `/api/v1/users/${ann}/sessions`)).toHaveLength(2);
    expect(await get(admin, `/api/v1/sessions/${hidden.conversation}`)).toMatchObject({ user_id: ann });
    expect(await get(admin, `/api/v1/messages/${hidden.message}`)).toMatchObject({
      content: "For the assistant alone",
    });
    expect(await told(admin, `/api/v1/sessions/${hidden.conversation}/events`, tells(hidden.message))).toContain(ann);
    const said = await say(admin, session, { sender_type: "assistant", sender_id: "assistant" });
    expect(said.status).toBe(201);
    const edited = await call(admin, "PATCH", `/api/v1/messages/${message}`, { content: "Tidied" });
    expect(edited.json).toMatchObject({ content: "Tidied", sender_id: ann });
    expect((await call(admin, "DELETE", `/api/v1/messages/${message}`)).json).toMatchObject({ content: "Tidied" });
    expect(await get(admin, `/api/v1/messages/${message}`)).toMatchObject({ is_deleted: true, content: "Tidied" });
  });

  it("as a service that names a user see what is that user's and nothing else", async () => {
    const other = `bob-${randomUUID()}`;
    const foreign = (await call(await as(other), "POST", "/api/v1/sessions")).json.id;
    for (const [who, id] of [
      [customer, session],
      [await as(other), foreign],
    ] as const) {
      await call(who, "POST", `/api/v1/sessions/${id}/transfer`, { to: "agent" });
    }
    const desk = bearer(KEY);
    const named = { ...desk, "x-user-id": ann };
    for (const [who, query] of [
      [named, ""],
      [desk, `?user_id=${ann}`],
    ] as const) {
      expect(await get(who, `/api/v1/sessions/${session}${query}`)).toMatchObject({ user_id: ann });
      expectProblem(await call(who, "GET", `/api/v1/sessions/${foreign}${query}`), 404, "not_found");
      expectProblem(await call(who, "GET", `/api/v1/sessions/${foreign}/events${query}`), 404, "not_found");
      expectProblem(await call(who, "POST", `/api/v1/sessions/${foreign}/accept${query}`), 404, "not_found");
      expect(await get(who, `/api/v1/queue${query}`)).toMatchObject([{ id: session }]);
      const seen = await told(who, `/api/v1/agents/${ann}/events${query}`, tells(session));
      expect(seen).not.toContain(foreign);
    }
    expect(await get(desk, `/api/v1/sessions/${foreign}`)).toMatchObject({ user_id: other });
    expect((await get(desk, "/api/v1/queue?limit=200")).map(({ id }: { id: string }) => id)).toEqual(
      expect.arrayContaining([session, foreign]),
    );
  });

  declares(parts);
});
