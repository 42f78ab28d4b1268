import { beforeAll, describe, expect, it } from "vitest";
import { as, type Called, SECRET } from "../support/app.ts";
import { databases } from "../support/databases.ts";
import { expectProblem, NOBODY } from "../support/http-expect.ts";
import { asAgent, asUser, sessionCalls } from "../support/http-sessions.ts";
import { declares, useApp } from "../support/http-setup.ts";

type Headers = Record<string, string>;
type Who = "user" | "stranger" | "agent" | "admin";

describe.each(databases)("who may do what in a session of a closed service on $database", ({ fresh }) => {
  const parts = useApp({ JWT_SECRET: SECRET }, fresh);
  const { create, end, transfer, accept, patch, say, get, messages, call } = sessionCalls(parts);
  const tokens = {} as Record<Who | "ben", Headers>;
  beforeAll(async () => {
    tokens.user = await as("alice");
    tokens.stranger = await as("eve");
    tokens.agent = await as("ann", "agent");
    tokens.ben = await as("ben", "agent");
    tokens.admin = await as("root", "admin");
  });

  /** A session of Alice's in which each of those who are named has said something; the assistant has it, or waits for one. */
  async function given({ waiting = false } = {}) {
    const { id } = await create(tokens.user);
    const [alices, anns] = [
      (await say(id, asUser("alice", "Hello"), tokens.user)).json.id,
      (await say(id, asAgent("ann", "Hi"), tokens.agent)).json.id,
    ];
    if (waiting) await transfer(id, { to: "agent" }, tokens.user);
    return { id, alices, anns } as { id: string; alices: string; anns: string };
  }

  /** What is tried, and the status for user, agent and admin; a stranger gets 404 by all of it. */
  type Try = [
    string,
    (at: Awaited<ReturnType<typeof given>>, who: Headers) => Promise<Called>,
    [number, number, number],
  ];
  const extension = { extension_type: "note", data: { a: 1 } };
  const assistants: Try[] = [
    ["read it", ({ id }, who) => get(id, who), [200, 200, 200]],
    ["read its messages", ({ id }, who) => call("GET", `/sessions/${id}/messages`, undefined, who), [200, 200, 200]],
    ["read a message", ({ anns }, who) => call("GET", `/messages/${anns}`, undefined, who), [200, 200, 200]],
    ["print it", ({ id }, who) => call("GET", `/sessions/${id}/transcript`, undefined, who), [200, 200, 200]],
    ["mark it read", ({ id }, who) => call("POST", `/sessions/${id}/read`, { seq: 1 }, who), [204, 204, 204]],
    ["note something on it", ({ id }, who) => patch(id, { metadata: { a: 1 } }, who), [200, 200, 200]],
    ["ask for an agent", ({ id }, who) => transfer(id, { to: "agent" }, who), [200, 200, 200]],
    ["ask for an agent by its status", ({ id }, who) => patch(id, { status: "transferred" }, who), [200, 200, 200]],
    ["name the agent", ({ id }, who) => transfer(id, { to: "agent", agent_id: "ann" }, who), [403, 200, 200]],
    ["assign it", ({ id }, who) => patch(id, { agent_id: "ann" }, who), [403, 200, 200]],
    ["end it", ({ id }, who) => end(id, who, { reason: "Done." }), [200, 200, 200]],
    ["end it by its status", ({ id }, who) => patch(id, { status: "ended" }, who), [200, 200, 200]],
    [
      "edit Alice's message",
      ({ alices }, who) => call("PATCH", `/messages/${alices}`, { content: "x" }, who),
      [200, 403, 200],
    ],
    [
      "edit Ann's message",
      ({ anns }, who) => call("PATCH", `/messages/${anns}`, { content: "x" }, who),
      [403, 200, 200],
    ],
    [
      "delete Alice's message",
      ({ alices }, who) => call("DELETE", `/messages/${alices}`, undefined, who),
      [200, 403, 200],
    ],
    ["delete Ann's message", ({ anns }, who) => call("DELETE", `/messages/${anns}`, undefined, who), [403, 200, 200]],
    [
      "hang something on it",
      ({ anns }, who) => call("POST", `/messages/${anns}/extensions`, extension, who),
      [201, 201, 201],
    ],
    ["speak as Alice", ({ id }, who) => say(id, asUser("alice", "x"), who), [201, 403, 201]],
    ["speak as Ann the agent", ({ id }, who) => say(id, asAgent("ann", "x"), who), [403, 201, 201]],
    ["speak as Ben the agent", ({ id }, who) => say(id, asAgent("ben", "x"), who), [403, 403, 201]],
    [
      "speak as the system",
      ({ id }, who) => say(id, { ...asAgent("ann", "x"), sender_type: "system" }, who),
      [403, 201, 201],
    ],
    [
      "speak as the assistant",
      ({ id }, who) => say(id, { ...asAgent("ann", "x"), sender_type: "assistant" }, who),
      [403, 403, 201],
    ],
    [
      "type as Ann",
      ({ id }, who) => call("POST", `/sessions/${id}/typing`, { sender_id: "ann", typing: true }, who),
      [403, 204, 204],
    ],
  ];
  const waiting: Try[] = [
    ["accept it as itself", ({ id }, who) => accept(id, who), [403, 200, 200]],
    ["accept it for Ann", ({ id }, who) => accept(id, who, { agent_id: "ann" }), [403, 200, 200]],
    ["accept it for Ben", ({ id }, who) => accept(id, who, { agent_id: "ben" }), [403, 403, 200]],
    ["hand it back", ({ id }, who) => transfer(id, { to: "assistant" }, who), [403, 200, 200]],
    ["hand it back by its status", ({ id }, who) => patch(id, { status: "active" }, who), [403, 200, 200]],
    ["ask again", ({ id }, who) => transfer(id, { to: "agent" }, who), [409, 409, 409]],
  ];
  const roles = ["user", "agent", "admin"] as const;
  const tries = [
    ...assistants.map((one) => [one, false] as const),
    ...waiting.map((one) => [one, true] as const),
  ].flatMap(([[what, attempt, statuses], isWaiting]) =>
    roles.map((role, i) => ({ role, what, status: statuses[i] ?? 0, attempt, isWaiting })),
  );

  it.each(tries)("$role tries to $what: $status", async ({ role, status, attempt, isWaiting }) => {
    const at = await given({ waiting: isWaiting });
    const before = [(await get(at.id, tokens.admin)).json, await messages(at.id, tokens.admin)];
    const tried = await attempt(at, tokens[role]);
    expect(tried.status, tried.text).toBe(status);
    if (status < 400) return;
    expectProblem(tried, status, status === 403 ? "forbidden" : "unlawful_move");
    expect([(await get(at.id, tokens.admin)).json, await messages(at.id, tokens.admin)]).toEqual(before);
  });

  it.each([...assistants.filter(([what]) => !/speak|type/.test(what)), ...waiting])(
    "a stranger finds nothing: %s",
    async (_, attempt) => {
      const at = await given();
      const nowhere = { id: NOBODY, alices: NOBODY, anns: NOBODY };
      const [foreign, unknown] = [await attempt(at, tokens.stranger), await attempt(nowhere, tokens.stranger)];
      expectProblem(foreign, 404, "not_found");
      expect({ ...foreign.json, request_id: "" }).toEqual({ ...unknown.json, request_id: "" });
    },
  );

  it("an agent finds nothing of what is not live, until it is transferred", async () => {
    const { id } = (await parts.app.call("POST", "/chats", {}, tokens.user)).json;
    const alices = (await say(id, asUser("alice", "Hello"), tokens.user)).json.id;
    for (const [, attempt] of assistants.filter(([what]) => !/Ann|hang|read a/.test(what))) {
      const tried = await attempt({ id, alices, anns: alices }, tokens.agent);
      if (tried.status !== 403) expectProblem(tried, 404, "not_found");
    }
    const mine = () => call("GET", "/users/alice/sessions", undefined, tokens.agent);
    expect((await mine()).json.map((one: { id: string }) => one.id)).not.toContain(id);
    await transfer(id, { to: "agent" }, tokens.user);
    expect((await accept(id, tokens.agent)).json).toMatchObject({ is_live: true, agent_id: "ann" });
    expect((await mine()).json.map((one: { id: string }) => one.id)).toContain(id);
    await transfer(id, { to: "assistant" }, tokens.agent);
    expect((await get(id, tokens.agent)).json).toMatchObject({ is_live: true, control: "assistant" });
  });

  it("of two agents who accept at once one has it", async () => {
    const { id } = await given({ waiting: true });
    const both = await Promise.all([accept(id, tokens.agent), accept(id, tokens.ben)]);
    const won = both.findIndex(({ status }) => status === 200);
    const lost = both[1 - won];
    expect(both[won]?.json).toMatchObject({ control: "agent", status: "transferred", agent_id: ["ann", "ben"][won] });
    expectProblem(lost as Called, 409, "already_accepted");
  });

  it("a user makes sessions of its own without an agent, an agent also for others and with one", async () => {
    const made = (body: object, who: Who) => call("POST", "/sessions", body, tokens[who]);
    expectProblem(await made({ agent_id: "ann" }, "user"), 403, "forbidden");
    expectProblem(await made({ user_id: "eve" }, "user"), 403, "forbidden");
    expect((await made({ user_id: "alice" }, "user")).json).toMatchObject({ user_id: "alice", control: "assistant" });
    const born = { user_id: "alice", agent_id: "ann" };
    expect((await made(born, "agent")).json).toMatchObject({ ...born, control: "agent", status: "active" });
    const eves = (await made({}, "stranger")).json.id;
    expectProblem(await made({ previous_session_id: eves }, "user"), 404, "not_found");
    expectProblem(await made({ previous_session_id: NOBODY }, "agent"), 404, "not_found");
    expect((await made({ previous_session_id: eves, user_id: "eve" }, "agent")).status).toBe(201);
  });

  it("a user who is named in a body has to be the token's own, everywhere", async () => {
    const { id, alices } = await given();
    const named = { user_id: "alice" };
    const seen = [
      await patch(id, { ...named, metadata: {} }, tokens.stranger),
      await end(id, tokens.stranger, named),
      await transfer(id, { ...named, to: "agent" }, tokens.stranger),
      await accept(id, tokens.stranger, named),
      await say(id, asUser("eve", "x", named), tokens.stranger),
      await call("POST", `/sessions/${id}/read`, { ...named, seq: 1 }, tokens.stranger),
      await call("PATCH", `/messages/${alices}`, { ...named, content: "x" }, tokens.stranger),
      await call("POST", `/messages/${alices}/extensions`, { ...named, ...extension }, tokens.stranger),
      await call("GET", "/users/alice/sessions", undefined, tokens.stranger),
    ];
    for (const one of seen) expectProblem(one, 403, "forbidden");
    for (const one of [await end(id, tokens.agent, { user_id: "eve" }), await get(`${id}?user_id=eve`, tokens.admin)]) {
      expectProblem(one, 404, "not_found");
    }
  });

  it("the queue is for agents and admins: live sessions, the one that has waited longest first", async () => {
    const queue = (who: Who) => call("GET", "/queue", undefined, tokens[who]);
    expectProblem(await queue("user"), 403, "forbidden");
    const [first, second, third] = [
      await given({ waiting: true }),
      await given({ waiting: true }),
      await given({ waiting: true }),
    ];
    const ids = async (who: Who) => (await queue(who)).json.map((one: { id: string }) => one.id).slice(-3);
    expect(await ids("agent")).toEqual([first.id, second.id, third.id]);
    await end(second.id, tokens.user);
    await accept(first.id, tokens.agent);
    const left = (await queue("admin")).json.map((one: { id: string }) => one.id);
    expect(left).toContain(third.id);
    expect(left).not.toContain(first.id);
    expect(left).not.toContain(second.id);
  });

  it("what is deleted is blank for everyone but an admin, and not there for them again", async () => {
    const { id } = await given();
    const more = { metadata: { secret: 1 }, extensions: [extension] };
    const message = (await say(id, asUser("alice", "My card is 4711", more), tokens.user)).json.id;
    await call("PATCH", `/messages/${message}`, { content: "My card is secret" }, tokens.user);
    const remove = (who: Who) => call("DELETE", `/messages/${message}`, undefined, tokens[who]);
    const removed = await remove("user");
    expect(removed.json).toMatchObject({ id: message, is_deleted: true, content: "", metadata: {}, extensions: [] });
    expect(removed.text).not.toMatch(/4711|secret/);
    for (const who of ["user", "agent", "admin"] as const) expectProblem(await remove(who), 404, "not_found");
    const read = (who: Who) => call("GET", `/messages/${message}`, undefined, tokens[who]);
    for (const who of ["user", "agent"] as const) expectProblem(await read(who), 404, "not_found");
    const { json } = await read("admin");
    expect(json).toMatchObject({ is_deleted: true, content: "My card is secret", metadata: { secret: 1 } });
    expect(json.extensions.map(({ data }: { data: object }) => data)).toEqual([
      { a: 1 },
      { content: "My card is 4711", edited_at: expect.any(String) },
    ]);
    const whole = await call("GET", `/sessions/${id}/transcript`, undefined, tokens.user);
    expect(whole.text).not.toMatch(/4711|secret/);
  });

  declares(parts);
});
