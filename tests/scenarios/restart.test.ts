import { Agent, request } from "node:http";
import { describe, it } from "vitest";
import { databases } from "../support/databases.ts";
import { PATIENT } from "../support/http-expect.ts";
import { allWorlds, pairsOf, providerForTest, serviceForTest } from "../support/http-worlds.ts";

describe.concurrent.each(allWorlds)("$runtime with $database", ({ runtime, fresh }) => {
  it("ends cleanly once its running turn is answered, and finds everything when it is back", async (test) => {
    const { expect } = test;
    const provider = await providerForTest(test);
    const url = await fresh();
    const first = await serviceForTest(test, { runtime, url, provider });
    const { conversation_id } = (await first.call("POST", "/api/chat/send", { message: "one" })).json;
    const chat = (await first.call("POST", "/chats", { title: "Kept" })).json;
    provider.behave(() => ({ headersAfter: 300 }));
    const running = first.call("POST", "/chat", { chat_id: conversation_id, message: "two" });
    await expect.poll(provider.busy, PATIENT).toBe(1);
    const ended = first.end("SIGTERM");
    expect((await running).json).toMatchObject({ reply: "Echo: two" });
    expect(await ended).toBe(0);

    const second = await serviceForTest(test, { runtime, url, provider });
    expect((await second.call("GET", "/chats")).json).toMatchObject({
      chats: [{ id: conversation_id, title: "one", message_count: 4 }, chat],
      total: 2,
    });
    const messages = await second.call("GET", `/chats/${conversation_id}/messages`);
    expect(pairsOf(messages.json)).toEqual([
      ["one", "Echo: one"],
      ["two", "Echo: two"],
    ]);
    const next = await second.call("POST", "/chat", { chat_id: conversation_id, message: "three" });
    expect(next.json).toMatchObject({ reply: "Echo: three" });
    expect(provider.asked.at(-1)?.body.messages).toHaveLength(5);
    expect(await second.end("SIGTERM")).toBe(0);
  });

  it("has lost nothing that it acknowledged when it is killed at once", async (test) => {
    const { expect } = test;
    const provider = await providerForTest(test);
    const url = await fresh();
    const first = await serviceForTest(test, { runtime, url, provider });
    const chat = (await first.call("POST", "/chats", { title: "Made" })).json;
    const gone = (await first.call("POST", "/chats")).json;
    expect((await first.call("DELETE", `/chats/${gone.id}`)).status).toBe(204);
    const sent = await first.call("POST", "/chat", { chat_id: chat.id, message: "remember me" });
    await first.end("SIGKILL");

    const second = await serviceForTest(test, { runtime, url, provider });
    expect((await second.call("GET", `/chats/${chat.id}/messages`)).json).toMatchObject([
      { role: "user", content: "remember me" },
      { role: "assistant", content: "Echo: remember me", id: sent.json.message_id },
    ]);
    expect((await second.call("GET", "/chats")).json).toMatchObject({ chats: [{ id: chat.id, message_count: 2 }] });
    expect((await second.call("GET", `/chats/${gone.id}`)).status).toBe(404);
  });
});

it.concurrent.for(["node", "bun"] as const)(
  "%s ends although a client goes on asking over the connection that it keeps",
  async (runtime, test) => {
    const { expect } = test;
    const provider = await providerForTest(test);
    const url = await databases[0].fresh();
    const service = await serviceForTest(test, { runtime, url, provider, env: { DRAIN_TIMEOUT_S: "60" } });
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    test.onTestFinished(() => agent.destroy());
    const get = () =>
      new Promise<boolean>((resolve) => {
        const asked = request(`${service.url}/health/live`, { agent }, (response) => {
          response.resume().on("end", () => resolve(true));
        });
        asked.on("error", () => resolve(false)).end();
      });

    provider.behave(() => ({ headersAfter: 500 }));
    const sent = new Promise((resolve, reject) => {
      const headers = { "content-type": "application/json" };
      const sending = request(`${service.url}/api/chat/send`, { agent, method: "POST", headers }, (response) => {
        response.resume().on("end", () => resolve(response.statusCode));
      });
      sending.on("error", reject).end(JSON.stringify({ message: "hello" }));
    });
    await expect.poll(provider.busy, PATIENT).toBe(1);
    let hasEnded = false;
    const ended = service.end("SIGTERM").finally(() => (hasEnded = true));
    expect(await sent).toBe(200);
    const asking = (async () => {
      while (!hasEnded && (await get()));
    })();
    expect(await ended).toBe(0);
    await asking;
  },
);
