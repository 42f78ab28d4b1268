import { setImmediate } from "node:timers/promises";
import { beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { databases } from "../support/databases.ts";
import { expectProblem, laterMillisecond, NOBODY, nextLink } from "../support/http-expect.ts";
import { declares, useApp } from "../support/http-setup.ts";

type Chat = { id: string; updated_at: string };
type Message = { id: string; content: string };

describe.each(databases)("lists of chats on $database", ({ fresh }) => {
  const parts = useApp({}, fresh);
  const call: typeof parts.app.call = (...args) => parts.app.call(...args);
  const make = async (user_id: string): Promise<Chat> => (await call("POST", "/chats", { user_id })).json;
  const list = async (query: string): Promise<{ chats: Chat[]; total: number; next_cursor: string | null }> =>
    (await call("GET", `/chats?${query}`)).json;
  const ids = (chats: Chat[]) => chats.map((chat) => chat.id);

  async function makeInOrder(user: string, count: number): Promise<Chat[]> {
    const made: Chat[] = [];
    for (let i = 0; i < count; i++) {
      made.unshift(await make(user));
      await laterMillisecond();
    }
    return made;
  }

  it("puts the last touched first, whether by a message or a new title", async () => {
    const [newest, middle, oldest] = (await makeInOrder("order", 3)) as [Chat, Chat, Chat];
    expect(ids((await list("user_id=order")).chats)).toEqual([newest.id, middle.id, oldest.id]);
    await call("POST", "/chat", { chat_id: oldest.id, message: "hello" });
    expect(ids((await list("user_id=order")).chats)).toEqual([oldest.id, newest.id, middle.id]);
    await laterMillisecond();
    await call("PATCH", `/chats/${middle.id}`, { title: "Touched" });
    expect(ids((await list("user_id=order")).chats)).toEqual([middle.id, oldest.id, newest.id]);
  });

  it("shows 50 unless it is asked for up to 100, and counts them all", async () => {
    await Promise.all(Array.from({ length: 103 }, () => make("many")));
    const first = await list("user_id=many");
    expect(first).toMatchObject({ total: 103, next_cursor: expect.any(String) });
    expect(first.chats).toHaveLength(50);
    expect((await list("user_id=many&limit=100")).chats).toHaveLength(100);
    expect((await list("user_id=many&limit=1")).chats).toEqual(first.chats.slice(0, 1));
  });

  it("walks every chat once by cursor, also those of one millisecond", async () => {
    await Promise.all(Array.from({ length: 25 }, () => make("walker")));
    const whole = await list("user_id=walker&limit=100");
    const walked: Chat[] = [];
    let after = "";
    for (let page = 0; page < 5; page++) {
      const { chats, total, next_cursor } = await list(`user_id=walker&limit=5${after}`);
      walked.push(...chats);
      expect({ size: chats.length, total }).toEqual({ size: 5, total: 25 });
      expect(next_cursor === null).toBe(page === 4);
      after = `&after=${next_cursor}`;
    }
    expect(walked).toEqual(whole.chats);
    expect(whole.next_cursor).toBeNull();
  });

  it("repeats nothing by cursor when a row is touched meanwhile: that one moves to the front", async () => {
    const [newest, next, third, oldest] = (await makeInOrder("mover", 4)) as [Chat, Chat, Chat, Chat];
    const first = await list("user_id=mover&limit=2");
    expect(ids(first.chats)).toEqual([newest.id, next.id]);
    await call("PATCH", `/chats/${newest.id}`, { title: "Again" });
    await laterMillisecond();
    await call("PATCH", `/chats/${oldest.id}`, { title: "Moved" });
    const second = await list(`user_id=mover&limit=2&after=${first.next_cursor}`);
    expect(ids(second.chats)).toEqual([third.id]);
    expect((await list("user_id=mover&limit=1")).chats).toMatchObject([{ id: oldest.id }]);
  });

  it("starts at an offset, and leads on from there by cursor", async () => {
    const made = await makeInOrder("offset", 5);
    const page = await list("user_id=offset&limit=2&offset=1");
    expect(ids(page.chats)).toEqual(ids(made.slice(1, 3)));
    expect(page.total).toBe(5);
    const rest = await list(`user_id=offset&limit=2&after=${page.next_cursor}`);
    expect(ids(rest.chats)).toEqual(ids(made.slice(3)));
    expect(await list("user_id=offset&offset=5")).toEqual({ chats: [], total: 5, next_cursor: null });
  });

  it("is empty for a user without chats", async () => {
    expect(await list("user_id=nobody")).toEqual({ chats: [], total: 0, next_cursor: null });
  });

  const forged = (...place: unknown[]) => Buffer.from(JSON.stringify(place)).toString("base64url");
  it.each([
    ["limit=0", "limit"],
    ["limit=101", "limit"],
    ["limit=abc", "limit"],
    ["limit=-1", "limit"],
    ["limit=1.5", "limit"],
    ["limit=", "limit"],
    ["limit=1&limit=2", "limit"],
    ["offset=-1", "offset"],
    ["offset=abc", "offset"],
    ["offset=99999999999999999999", "offset"],
    ["user_id=", "user_id"],
    ["user_id=%00", "user_id"],
    ["user_id=LONG", "user_id"],
    ["after=nonsense", "after"],
    [`after=${forged("x", "y")}`, "after"],
    [`after=${forged(1e300, NOBODY)}`, "after"],
    ["after=", "after"],
  ])("refuses ?%s", async (query, path) => {
    const refused = await call("GET", `/chats?${query.replace("LONG", "x".repeat(256))}`);
    expectProblem(refused, 422, "validation_failed");
    expect(refused.json.errors[0].path).toBe(path);
  });

  describe("of messages", () => {
    let chat: Chat;
    let all: Message[];
    beforeAll(async () => {
      chat = await make("talker");
      for (let i = 1; i <= 4; i++) await call("POST", "/chat", { chat_id: chat.id, message: `message ${i}` });
      all = (await call("GET", `/chats/${chat.id}/messages`)).json;
    });

    it("show all of them oldest first, and lead nowhere", async () => {
      const whole = await call("GET", `/chats/${chat.id}/messages?limit=500`);
      expect(whole.json.map((message: Message) => message.content)).toEqual(
        [1, 2, 3, 4].flatMap((i) => [`message ${i}`, `Echo: message ${i}`]),
      );
      expect(nextLink(whole)).toBeUndefined();
    });

    it("show the newest that were asked for, and link to the older ones until none is left", async () => {
      const newest = await call("GET", `/chats/${chat.id}/messages?limit=3`);
      expect(newest.json).toEqual(all.slice(5));
      const older = await call("GET", nextLink(newest) ?? "");
      expect(older.json).toEqual(all.slice(2, 5));
      const oldest = await call("GET", nextLink(older) ?? "");
      expect(oldest.json).toEqual(all.slice(0, 2));
      expect(nextLink(oldest)).toBeUndefined();
    });

    it("do not move under a walker when messages are added", async () => {
      const other = await make("adder");
      for (let i = 1; i <= 2; i++) await call("POST", "/chat", { chat_id: other.id, message: `message ${i}` });
      const newest = await call("GET", `/chats/${other.id}/messages?limit=2`);
      await call("POST", "/chat", { chat_id: other.id, message: "message 3" });
      const older = await call("GET", nextLink(newest) ?? "");
      expect(older.json.map((message: Message) => message.content)).toEqual(["message 1", "Echo: message 1"]);
    });

    it("are empty for a new chat", async () => {
      const { id } = await make("talker");
      expect((await call("GET", `/chats/${id}/messages`)).json).toEqual([]);
    });

    it.each([
      ["limit=0", "limit"],
      ["limit=501", "limit"],
      ["limit=abc", "limit"],
      ["after=nonsense", "after"],
      [`after=${forged("x")}`, "after"],
    ])("refuse ?%s", async (query, path) => {
      const refused = await call("GET", `/chats/${chat.id}/messages?${query}`);
      expectProblem(refused, 422, "validation_failed");
      expect(refused.json.errors[0].path).toBe(path);
    });

    it.each([`/chats/${NOBODY}/messages`, `/conversations/${NOBODY}`, `/api/chat/conversations/${NOBODY}`])(
      "leave no failure behind that nobody hears, which would end the process: %s?after=nonsense",
      async (path) => {
        const unheard: unknown[] = [];
        const hear = (reason: unknown) => unheard.push(reason);
        process.on("unhandledRejection", hear);
        onTestFinished(() => void process.off("unhandledRejection", hear));
        expectProblem(await call("GET", `${path}?after=nonsense`), 422, "validation_failed");
        expect((await call("GET", path)).status).toBe(404); // by then the first has come to its end, too
        await setImmediate(); // when Node tells of it
        expect(unheard).toEqual([]);
      },
    );

    it.each([2 ** 31, 2 ** 40, -(2 ** 40)])("take a forged cursor for no failure of the service: %d", async (seq) => {
      const answered = await call("GET", `/chats/${chat.id}/messages?after=${forged(seq)}`);
      expect(answered.status).toBeLessThan(500);
    });
  });

  declares(parts);
});
