import { describe, expect, it, onTestFinished } from "vitest";
import { as, SECRET } from "../support/app.ts";
import { databases } from "../support/databases.ts";
import { expectProblem, nextLink } from "../support/http-expect.ts";
import { declares, useApp } from "../support/http-setup.ts";

const LONG = "0123456789abcde\n".repeat(2_048);

describe.each(databases)("long answers on $database", ({ fresh }) => {
  const parts = useApp({ JWT_SECRET: SECRET, MAX_STREAMS_PER_USER: "1" }, fresh);

  /** A chat of a user of its own with eight long messages. */
  async function longChat(name: string) {
    const user = await as(name);
    const id: string = (await parts.app.call("POST", "/api/v1/sessions", {}, user)).json.id;
    for (let i = 0; i < 8; i++) {
      const said = { content: `${i} ${LONG}`, sender_type: "user", sender_id: name };
      expect((await parts.app.call("POST", `/api/v1/sessions/${id}/messages`, said, user)).status).toBe(201);
    }
    const open = (path: string, method = "GET") => parts.app.parley.app.request(path, { method, headers: user });
    return { user, id, open };
  }

  const routes = [
    "/chats/ID/messages",
    "/conversations/ID",
    "/conversations",
    "/api/chat/conversations/ID",
    "/api/v1/sessions/ID",
    "/api/v1/sessions/ID/messages",
    "/api/v1/sessions/ID/transcript",
    "/api/v1/sessions/ID/transcript?format=text",
  ];

  it("are open streams of their user until they are read, and whole", async () => {
    const { id, open } = await longChat("alice");
    for (const route of routes) {
      const path = route.replace("ID", id);
      const answer = await open(path);
      expect(answer.status, route).toBe(200);
      const second = await open(path);
      expect(second.status, route).toBe(429);
      await second.text();
      const text = await answer.text();
      for (let i = 0; i < 8; i++) expect(text.includes(`${i} 0123456789abcde`), route).toBe(true);
      if (!route.endsWith("text")) JSON.parse(text);
      const again = await open(path);
      expect(again.status, route).toBe(200);
      await again.text();
    }
  });

  it("are no streams where only their head is asked for, or they are short", async () => {
    const { id, open } = await longChat("bob");
    const path = `/chats/${id}/messages`;
    const unread = await open(path);
    onTestFinished(() => unread.body?.cancel());
    const head = await open(path, "HEAD");
    expect({ status: head.status, text: await head.text() }).toEqual({ status: 200, text: "" });
    const short = await open(`${path}?limit=1`);
    expect(short.status).toBe(200);
    expect(await short.json()).toHaveLength(1);
  });

  it("have the number of messages that was asked for, and lead on", async () => {
    const { user, id } = await longChat("carol");
    const seen: string[] = [];
    let path: string | undefined = `/chats/${id}/messages?limit=3`;
    while (path) {
      const page = await parts.app.call("GET", path, undefined, user);
      seen.unshift(...page.json.map((one: { content: string }) => one.content.slice(0, 1)));
      path = nextLink(page);
    }
    expect(seen).toEqual(["0", "1", "2", "3", "4", "5", "6", "7"]);
  });

  it("end for a reader that leaves, which frees its place", async () => {
    const { id, open } = await longChat("dave");
    const answer = await open(`/chats/${id}/messages`);
    await answer.body?.cancel();
    const next = await open(`/chats/${id}/messages`);
    expect(next.status).toBe(200);
    await next.text();
  });

  it("refuse before anything is stored what would be answered with as much, where no place is left", async () => {
    const { user, id, open } = await longChat("erin");
    const unread = await open(`/chats/${id}/messages`);
    const said = { content: LONG, sender_type: "user", sender_id: "erin" };
    const headers = { ...user, "content-length": String(LONG.length) };
    const refused = await parts.app.call("POST", `/api/v1/sessions/${id}/messages`, said, headers);
    expectProblem(refused, 429, "rate_limited");
    const short = { ...said, content: "short" };
    const taken = await parts.app.call("POST", `/api/v1/sessions/${id}/messages`, short, {
      ...user,
      "content-length": "100",
    });
    expect(taken.status).toBe(201);
    await unread.text();
    expect((await parts.app.call("GET", `/api/v1/sessions/${id}`, undefined, user)).json.message_count).toBe(9);
  });

  declares(parts);
});
