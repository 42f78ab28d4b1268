import { describe, it } from "vitest";
import { databases } from "../support/databases.ts";
import { PATIENT } from "../support/http-expect.ts";
import { type Message, providerForTest, serviceForTest, worlds } from "../support/http-worlds.ts";
import type { Runtime } from "../support/service.ts";

/** Longer than Bun lets a connection be silent by itself (10 s), shorter than the provider's own time (60 s). */
const SILENCE_MS = 12_000;

// These wait most of the time, so they wait together.
describe("waiting together", () => {
  it.concurrent.for(worlds)(
    "$runtime with $database, killed in the middle of a turn, has kept the question, and goes on once the lost turn's lease is over",
    async ({ runtime, fresh }, test) => {
      const { expect } = test;
      const provider = await providerForTest(test);
      const url = await fresh();
      const first = await serviceForTest(test, { runtime, url, provider });
      provider.behave(() => ({ headersAfter: Number.POSITIVE_INFINITY }));
      const lost = expect(first.call("POST", "/api/chat/send", { message: "the lost one" })).rejects.toThrow();
      await expect.poll(provider.busy, PATIENT).toBe(1);
      await first.end("SIGKILL");
      await lost;
      provider.behave(() => ({}));

      const second = await serviceForTest(test, { runtime, url, provider });
      const { chats } = (await second.call("GET", "/chats")).json;
      expect(chats).toMatchObject([{ title: "the lost one", message_count: 1 }]);
      const chat_id: string = chats[0].id;
      const contents = async () =>
        (await second.call("GET", `/chats/${chat_id}/messages`)).json.map(({ content }: Message) => content);
      expect(await contents()).toEqual(["the lost one"]);

      const next = await second.call("POST", "/chat", { chat_id, message: "the next one" });
      expect(next.status).toBe(200);
      expect(provider.asked.at(-1)?.body.messages).toEqual([{ role: "user", content: "the lost one\n\nthe next one" }]);
      expect(await contents()).toEqual(["the lost one", "the next one", next.json.reply]);
    },
  );

  it.concurrent("a provider that is silent for 12 s is waited for on either runtime, and its answer reaches the client", async (test) => {
    const { expect } = test;
    const provider = await providerForTest(test);
    provider.behave(() => ({ headersAfter: SILENCE_MS }));
    const inTime = async (runtime: Runtime) => {
      const url = await databases[0].fresh();
      const service = await serviceForTest(test, { runtime, url, provider });
      const { id } = (await service.call("POST", "/chats")).json;
      const [sent, chatted] = await Promise.all([
        service.call("POST", "/api/chat/send", { message: "slowly" }),
        service.call("POST", "/chat", { chat_id: id, message: "slowly, too" }),
      ]);
      expect(sent.json).toMatchObject({ message: "Echo: slowly" });
      expect(chatted.json).toMatchObject({ reply: "Echo: slowly, too" });
    };
    await Promise.all([inTime("node"), inTime("bun")]);
  });
});
