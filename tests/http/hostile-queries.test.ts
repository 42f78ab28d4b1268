import { beforeAll, describe, expect, it } from "vitest";
import { as, SECRET } from "../support/app.ts";
import { expectProblem } from "../support/http-expect.ts";
import { declares, useApp } from "../support/http-setup.ts";

describe("a hostile query", () => {
  const parts = useApp({ JWT_SECRET: SECRET });
  const call: typeof parts.app.call = (...args) => parts.app.call(...args);
  let alice: Record<string, string>;
  let mallory: Record<string, string>;
  let admin: Record<string, string>;
  let id: string;
  let turnId: string;
  beforeAll(async () => {
    [alice, mallory, admin] = await Promise.all([as("alice"), as("mallory"), as("root", "admin")]);
    id = (await call("POST", "/chats", { title: "alice's" }, alice)).json.id;
    turnId = (await call("POST", "/chat", { chat_id: id, message: "hers" }, alice)).json.turn_id;
  });

  /** Every route that knows a `user_id` in its query. */
  const routes: [string, string, object?][] = [
    ["GET", "/chats"],
    ["GET", "/chats/ID"],
    ["GET", "/chats/ID/messages"],
    ["PATCH", "/chats/ID", { title: "mine" }],
    ["DELETE", "/chats/ID"],
    ["POST", "/chats", {}],
    ["POST", "/chat", { chat_id: "ID", message: "x" }],
    ["GET", "/conversations"],
    ["GET", "/conversations/ID"],
    ["POST", "/conversations", {}],
    ["POST", "/conversations/ID/ask-message", { content: "x" }],
    ["POST", "/api/chat/send", { conversation_id: "ID", message: "x" }],
    ["GET", "/api/chat/conversations"],
    ["GET", "/api/chat/conversations/ID"],
    ["POST", "/generate-response", { chat_id: "ID", message: "x" }],
    ["POST", "/api/v1/chats", {}],
    ["POST", "/api/v1/chat/message", { chat_id: "ID", content: "x" }],
    ["GET", "/api/v1/turns/TURN"],
    ["POST", "/api/v1/turns/TURN/cancel"],
    ["GET", "/api/v1/turns/TURN/stream"],
    ["GET", "/api/v1/usage"],
  ];

  it.each(routes)("that names two users means neither: %s %s", async (method, route, body) => {
    const path = route.replace("ID", id).replace("TURN", turnId);
    const asked = body && JSON.parse(JSON.stringify(body).replace("ID", id));
    const pairs = ["user_id=mallory&user_id=alice", "user_id=alice&user_id=mallory", "user_id=mallory&user%5fid=alice"];
    for (const who of [mallory, admin]) {
      for (const pair of pairs) {
        expectProblem(await call(method, `${path}?${pair}`, asked, who), 422, "validation_failed");
      }
    }
    const [chats] = (await call("GET", "/chats", undefined, alice)).json.chats;
    expect(chats).toMatchObject({ id, title: "alice's" });
  });

  it.each(routes)("or a body that names somebody else is no way in: %s %s", async (method, route, body) => {
    const path = route.replace("ID", id).replace("TURN", turnId);
    const asked = body && JSON.parse(JSON.stringify(body).replace("ID", id));
    expectProblem(await call(method, `${path}?user_id=alice`, asked, mallory), 403, "forbidden");
    if (!asked) return;
    const both = await call(method, `${path}?user_id=mallory`, { ...asked, user_id: "alice" }, mallory);
    expect(both.text).not.toContain("alice");
    expect([403, 404, 201]).toContain(both.status);
    if (both.status === 201 && "user_id" in both.json) expect(both.json.user_id).toBe("mallory");
  });

  it.each([
    "limit=1&limit=2",
    "limit=-0",
    "limit=1e1",
    "limit=0x10",
    "limit=%31%00",
    "limit=",
    "limit=9007199254740993",
    "limit=1.0",
    "limit=+5",
    "offset=-1",
    "offset=99999999999",
    "after=a&after=b",
    "after=%ff",
    "after=W10",
    "after=WyJ4Il0",
  ])("is refused where it is no page: %s", async (query) => {
    expectProblem(await call("GET", `/chats?${query}`, undefined, alice), 422, "validation_failed");
  });

  it.each([
    ["thousands of parameters", Array.from({ length: 5_000 }, (_, i) => `p${i}=${i}`).join("&")],
    ["one parameter thousands of times", "a=1&".repeat(5_000)],
    ["names that objects have", "__proto__=x&__proto__=y&constructor=z&toString=&hasOwnProperty=1&__proto__[a]=b"],
    ["broken escapes", "%=%&a=%ff&%ff=a&b=%zz&%00=%00&&&=&=="],
  ])("is ignored as far as nobody knows it: %s", async (_, query) => {
    const listed = await call("GET", `/chats?${query}`, undefined, alice);
    expect(listed.json).toMatchObject({ total: 1, chats: [{ id }] });
    expect(({} as Record<string, unknown>)["a"]).toBeUndefined();
  });

  it("gives a Link header that holds nothing but a path of ours", async () => {
    const odd = "x=%0d%0aSet-Cookie:%20a=b&y=%3E%3B%20rel=%22next%22";
    const listed = await call("GET", `/chats/${id}/messages?limit=1&${odd}`, undefined, alice);
    expect(listed.headers.get("link")).toMatch(/^<\/chats\/[\w-]+\/messages\?[^\s<>"]+>; rel="next"$/);
    expect(listed.headers.get("set-cookie")).toBeNull();
  });

  declares(parts);
});
