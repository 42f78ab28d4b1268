import { randomUUID } from "node:crypto";
import { describe, expect, it } from "vitest";
import { createLive } from "../../src/core/live.ts";
import { eraseTexts } from "../../src/core/retention.ts";
import { databases } from "../support/databases.ts";
import {
  openScene,
  ROOT,
  type Scene,
  sayEverywhere,
  storedIn,
  timesOnDisk,
  type Who,
} from "../support/erasure-scene.ts";
import { expectProblem } from "../support/http-expect.ts";

const [ANN, BEN, EVE] = [["ann"], ["ben"], ["eve", "agent"]] as const satisfies Who[];
const DAY = 86_400_000;

type Line = { type: string; [field: string]: unknown };
const linesOf = (text: string): Line[] =>
  text
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));

/** What a user said in a session of another's as its agent, and hung there. */
async function serve({ call }: Scene, agent: Who, word: string) {
  const [user] = agent;
  const { id } = (await call(BEN, "POST", "/api/v1/sessions", {})).json;
  const at = `/api/v1/sessions/${id}`;
  const asked = { content: "Anybody?", sender_type: "user", sender_id: "ben" };
  const question = (await call(BEN, "POST", `${at}/messages`, asked)).json.id;
  await call(BEN, "POST", `${at}/transfer`, { to: "agent" });
  await call(agent, "POST", `${at}/accept`, {});
  const said = { content: `Me, ${word}`, sender_type: "agent", sender_id: user };
  const message = (await call(agent, "POST", `${at}/messages`, said)).json.id;
  const note = { extension_type: "note", data: { text: word } };
  await call(agent, "POST", `/api/v1/messages/${question}/extensions`, note);
  await call(agent, "POST", `${at}/read`, { seq: 1 });
  return { id, at, question, message };
}

describe.each(databases)("all that there is of a user on $database", ({ database, fresh }) => {
  it("is erased by an admin, in conversations of others too, and others keep theirs", async () => {
    const url = await fresh();
    const scene = await openScene(url);
    const { call, db } = scene;
    const word = `Quokka${randomUUID()}`;
    await sayEverywhere(scene, EVE, word);
    const kept = await serve(scene, EVE, word);
    const of = await sayEverywhere(scene, BEN, "kept");
    const before = (await call(ROOT, "GET", "/api/v1/usage")).json;

    const erased = await call(ROOT, "DELETE", "/api/v1/users/eve");
    expect(erased).toMatchObject({ status: 200, json: { user_id: "eve", conversations: 1, messages: 4 } });
    expect(erased.json).toMatchObject({ messages_elsewhere: 1, extensions_elsewhere: 1, sessions_left: 1 });
    expect(erased.json).toMatchObject({ read_markers: 1, idempotency_keys: 4, turns: 2 });
    const stored = await storedIn(scene);
    expect(stored).not.toContain(word);
    expect(stored).not.toContain('"eve"');
    if (database === "SQLite") {
      await db.settleErasure();
      expect(timesOnDisk(url, word)).toBe(0);
    }
    expect((await call(ROOT, "GET", "/api/v1/usage")).json).toEqual(before);

    const session = (await call(BEN, "GET", kept.at)).json;
    expect(session).toMatchObject({ control: "queue", status: "transferred", agent_id: null, message_count: 1 });
    expect((await call(ROOT, "GET", `/api/v1/messages/${kept.message}`)).json).toMatchObject({
      ...{ content: "", is_deleted: true, sender_id: "agent", extensions: [] },
    });
    expect((await call(BEN, "GET", `/api/v1/messages/${kept.question}`)).json).toMatchObject({
      ...{ content: "Anybody?", extensions: [], rev: expect.any(Number) },
    });
    expect((await call(BEN, "GET", `/chats/${of.id}/messages`)).text).toContain("kept");

    const again = (await call(ROOT, "DELETE", "/api/v1/users/eve")).json;
    expect(Object.values(again).filter((count) => count !== 0)).toEqual(["eve"]);
  });

  it("is for the user itself and admins: agents, not even of themselves, and others get none of it", async () => {
    const { call } = await openScene(await fresh());
    await call(ANN, "POST", "/chats", { title: "Mine" });
    for (const [method, path] of [
      ["DELETE", "/api/v1/users/ann"],
      ["GET", "/api/v1/users/ann/export"],
    ] as const) {
      for (const who of [BEN, EVE]) expectProblem(await call(who, method, path), 403, "forbidden");
      expectProblem(await call(EVE, method, path.replace("ann", "eve")), 403, "forbidden");
    }
    expect((await call(ANN, "GET", "/chats")).json.total).toBe(1);
    expect((await call(ANN, "DELETE", "/api/v1/users/ann")).json).toMatchObject({ conversations: 1, messages: 0 });
    expect((await call(ANN, "GET", "/chats")).json.total).toBe(0);
  });

  it("is erased by asking again where it broke off", async () => {
    const scene = await openScene(await fresh());
    const { call } = scene;
    for (let i = 0; i < 3; i++)
      await call(ANN, "POST", "/chat", { chat_id: (await call(ANN, "POST", "/chats", {})).json.id, message: "Hi" });
    const [first] = (await call(ANN, "GET", "/chats")).json.chats;
    await call(ANN, "DELETE", `/chats/${first.id}`);
    expect((await call(ANN, "DELETE", "/api/v1/users/ann")).json).toMatchObject({ conversations: 2, turns: 3 });
    expect(await storedIn(scene)).not.toContain('"ann"');
  });

  it("leaves the budget of the day as it is: whose it was is forgotten when the day is over", async () => {
    const scene = await openScene(await fresh(), { DAILY_TOKENS_PER_USER: "20" });
    const { call, db } = scene;
    const ask = async () => {
      const { id } = (await call(ANN, "POST", "/chats", {})).json;
      return call(ANN, "POST", "/chat", { chat_id: id, message: "What is a token, and how many of them are there?" });
    };
    expect((await ask()).status).toBe(200);
    expectProblem(await ask(), 429, "quota_exceeded");
    expect((await call(ANN, "DELETE", "/api/v1/users/ann")).status).toBe(200);
    expectProblem(await ask(), 429, "quota_exceeded");
    await call(ANN, "DELETE", "/api/v1/users/ann");
    expect(await db.select().from(db.tables.turns)).toMatchObject([{ userId: "ann", options: null }]);
    const parts = {
      db,
      live: createLive(),
      log: { info() {}, warn() {}, error() {} },
      retention: { deletedMs: DAY, untouchedMs: null },
    };
    const at = (ms: number) => ({ ...parts, clock: () => Date.now() + ms, allowance: { turns: null, tokensADay: 20 } });
    await eraseTexts(at(0));
    expect(await storedIn(scene)).toContain('"ann"');
    await eraseTexts(at(DAY));
    expect(await storedIn(scene)).not.toContain('"ann"');
  });

  it("is given line by line, each thing once, with a last line that counts them", async () => {
    const scene = await openScene(await fresh());
    const { call } = scene;
    const word = "quokka";
    const { id, message } = await sayEverywhere(scene, EVE, word);
    await serve(scene, EVE, word);
    await sayEverywhere(scene, BEN, "another's");
    for (let i = 0; i < 101; i++) await call(EVE, "POST", "/chats", {});
    const told = await call(ROOT, "GET", "/api/v1/users/eve/export");
    expect(told.status).toBe(200);
    expect(told.headers.get("content-type")).toBe("application/x-ndjson");
    const lines = linesOf(told.text);
    expect(lines[0]).toEqual({ type: "user", user_id: "eve" });
    const counts = {
      conversation: 102,
      message: 5,
      extension: 1,
      turn: 2,
      read_marker: 2,
      idempotency_key: 4,
      usage: 1,
    };
    expect(lines.at(-1)).toEqual({ type: "end", counts: counts });
    const ids = lines.flatMap((line) => (typeof line["id"] === "string" ? [`${line.type} ${line["id"]}`] : []));
    expect(new Set(ids).size).toBe(ids.length);
    expect(told.text).not.toContain("another's");
    const of = (type: string) => lines.filter((line) => line.type === type);
    expect(of("message").find((line) => line["id"] === message)).toMatchObject({
      ...{ session_id: id, content: `Rather ${word}?`, metadata: { of: word } },
      extensions: [{ extension_type: "note", data: { text: word } }, { extension_type: "edit_history" }],
    });
    expect(of("message").filter((line) => line["content"] === `Me, ${word}`)).toHaveLength(1);
    expect(of("extension")).toMatchObject([{ data: { text: word } }]);
    expect(of("turn").map((line) => line["options"])).toEqual([
      { systemPrompt: `You are ${word}.` },
      { systemPrompt: `Not ${word}.` },
    ]);
    const nothing = linesOf((await call(ANN, "GET", "/api/v1/users/ann/export")).text);
    expect(nothing).toEqual([
      { type: "user", user_id: "ann" },
      { type: "end", counts: {} },
    ]);
    const own = (await call(BEN, "GET", "/api/v1/users/ben/export")).text;
    expect(own).toContain("What is another's?");
    expect(own).not.toContain("You are another's."); // a service may have said so for the user
  });
});

describe.each(databases)("lists for an admin on $database", ({ fresh }) => {
  it("walk through all users, and all conversations, each once", async () => {
    const { call } = await openScene(await fresh());
    const users = ["ann", "ben", "Čeněk", "zoë"];
    const made: string[] = [];
    for (const user of users) for (let i = 0; i < 3; i++) made.push((await call([user], "POST", "/chats", {})).json.id);
    await call(ROOT, "POST", `/api/v1/sessions/${made[4]}/end`, {});

    async function walk(path: string, field: string) {
      const rows: Record<string, unknown>[] = [];
      for (let after = ""; ; ) {
        const page = (await call(ROOT, "GET", `${path}limit=2${after}`)).json;
        rows.push(...page[field]);
        if (page.next_cursor === null) return rows;
        after = `&after=${page.next_cursor}`;
      }
    }
    const listed = await walk("/api/v1/users?", "users");
    expect(listed.map((row) => row["user_id"]).sort()).toEqual([...users].sort());
    for (const row of listed) expect(row).toMatchObject({ conversations: 3, last_activity: expect.any(String) });
    const all = await walk("/api/v1/conversations?", "conversations");
    expect(all.map((row) => row["id"])).toEqual(made.toSorted().reverse());
    const bens = await walk("/api/v1/conversations?user_id=ben&", "conversations");
    expect(bens.map((row) => row["id"]).toSorted()).toEqual(made.slice(3, 6).toSorted());
    const ended = await walk("/api/v1/conversations?status=ended&", "conversations");
    expect(ended).toMatchObject([{ id: made[4], user_id: "ben", status: "ended" }]);
    expect(await walk("/api/v1/conversations?status=ended&user_id=ann&", "conversations")).toEqual([]);
    for (const path of ["/api/v1/users", "/api/v1/conversations"]) {
      for (const who of [ANN, EVE]) expectProblem(await call(who, "GET", path), 403, "forbidden");
    }
  });

  it("tell what the turns of a conversation cost, also its owner", async () => {
    const { call } = await openScene(await fresh());
    const { id } = (await call(ANN, "POST", "/chats", {})).json;
    const turns: string[] = [];
    for (const message of ["One", "Two", "Three"]) {
      turns.push((await call(ANN, "POST", "/chat", { chat_id: id, message })).json.turn_id);
    }
    const first = (await call(ANN, "GET", `/api/v1/conversations/${id}/turns?limit=2`)).json;
    const rest = (await call(ROOT, "GET", `/api/v1/conversations/${id}/turns?after=${first.next_cursor}`)).json;
    expect(rest.next_cursor).toBeNull();
    const all = [...first.turns, ...rest.turns];
    expect(all.map((turn) => turn.id)).toEqual(turns);
    for (const turn of all)
      expect(turn).toMatchObject({ status: "completed", usage: { estimated: expect.any(Boolean) } });
    for (const who of [BEN, EVE])
      expectProblem(await call(who, "GET", `/api/v1/conversations/${id}/turns`), 404, "not_found");
  });
});
