import { describe, it } from "vitest";
import { databases } from "../support/databases.ts";
import { PATIENT } from "../support/http-expect.ts";
import { providerForTest, serviceForTest } from "../support/http-worlds.ts";
import { makeChat, tell } from "../support/kill-scene.ts";
import type { Service } from "../support/service.ts";
import { createGate } from "../support/stream-gate.ts";
import { readStream, resume } from "../support/stream-reader.ts";

const [{ fresh }] = databases;
/** Longer than Bun lets a connection be silent by itself. */
const LONG_MS = 12_500;

const TEXT = "Grüße 👩‍👩‍👧 aus\n日本 🐚 & \u{1F600}!";
const SILENT = { headersAfter: Number.POSITIVE_INFINITY };

const streamOf = (turnId: string | undefined) => `/api/v1/turns/${turnId}/stream`;
const contentsOf = async (service: Service, chatId: string): Promise<string[]> => {
  const listed = (await service.call("GET", `/chats/${chatId}/messages`)).json;
  return listed.map(({ content }: { content: string }) => content);
};

describe.concurrent.each(["node", "bun", "binary"] as const)("a stream on %s", (runtime) => {
  it("begins at once, while the provider says nothing, and tells each piece as it is made", async (test) => {
    const { expect } = test;
    const provider = await providerForTest(test);
    const service = await serviceForTest(test, { runtime, url: await fresh(), provider });
    const pieces = ["one", " two", " 🐚", " three"];
    const gate = createGate(pieces);
    provider.behave(() => gate.script);
    const chat_id = await makeChat(service);
    const reading = await readStream(service.url, { path: "/chat", body: { chat_id, message: "hi", stream: true } });
    await expect.poll(() => reading.frames.length, PATIENT).toBe(1); // the provider holds back all of its answer
    expect(reading.frames[0]).toMatchObject({ event: "turn.started", data: { conversation_id: chat_id } });
    expect(reading.headers).toMatchObject({
      "content-type": "text/event-stream",
      "cache-control": expect.stringContaining("no-transform"),
      "x-accel-buffering": "no",
    });
    for (const [i] of pieces.entries()) {
      gate.next();
      // The provider holds the next piece back, so what is heard now has waited for nothing.
      await expect.poll(() => reading.heard.text, PATIENT).toBe(pieces.slice(0, i + 1).join(""));
    }
    expect(await reading.over).toEqual({ whole: true });
    expect(reading.frames.map(({ event, id }) => [event, id])).toEqual([
      ["turn.started", undefined],
      ["message.delta", "0-3"],
      ["message.delta", "0-7"],
      ["message.delta", "0-10"],
      ["message.delta", "0-16"],
      ["turn.completed", "0-end"],
    ]);
  });

  it("that is left changes nothing: the provider is heard to the end, and the answer is stored", async (test) => {
    const { expect } = test;
    const provider = await providerForTest(test);
    const service = await serviceForTest(test, { runtime, url: await fresh(), provider });
    const gate = createGate(["one", " two"]);
    provider.behave(() => gate.script);
    const chatId = await makeChat(service);
    const { reading } = await tell(service, chatId, "hi");
    gate.next();
    await expect.poll(() => reading.heard.text, PATIENT).toBe("one");
    reading.drop();
    await reading.over;
    const follower = await readStream(service.url, { path: streamOf(reading.heard.turnId) });
    await expect.poll(() => follower.heard.text, PATIENT).toBe("one");
    follower.drop();
    gate.open();
    await expect.poll(() => contentsOf(service, chatId), PATIENT).toEqual(["hi", "one two"]);
    expect([provider.left(), provider.asked.length]).toEqual([0, 1]);
  });

  it("is cut at the provider by cancel, by an interruption and by deletion", async (test) => {
    const { expect } = test;
    const provider = await providerForTest(test);
    const service = await serviceForTest(test, { runtime, url: await fresh(), provider });
    const stops = {
      cancel: (turnId: string) => service.call("POST", `/api/v1/turns/${turnId}/cancel`),
      interrupt: (_: string, chat_id: string) =>
        service.call("POST", "/chat", { chat_id, message: "now this", if_busy: "interrupt" }),
      delete: (_: string, chatId: string) => service.call("DELETE", `/chats/${chatId}`),
    };
    for (const [i, stop] of Object.values(stops).entries()) {
      provider.behave(() => ({ text: ["half"], afterwards: "stall" }));
      const chatId = await makeChat(service);
      const { reading } = await tell(service, chatId, "hi");
      await expect.poll(() => reading.heard.text, PATIENT).toBe("half");
      expect(provider.left()).toBe(i);
      provider.behave(() => ({}));
      const answered = stop(reading.heard.turnId ?? "", chatId);
      await expect.poll(provider.left, PATIENT).toBe(i + 1);
      expect((await answered).status).toBeLessThan(300);
      expect(await reading.over).toEqual({ whole: true });
      expect([reading.heard.end?.event, reading.heard.text]).toEqual(["turn.cancelled", "half"]);
    }
  });

  it("that breaks off at any offset and is gone on with comes to the exact text", async (test) => {
    const { expect } = test;
    const provider = await providerForTest(test);
    const service = await serviceForTest(test, { runtime, url: await fresh(), provider });
    const characters = [...TEXT];
    const gate = createGate(characters);
    provider.behave(() => gate.script);
    let { reading } = await tell(service, await makeChat(service), "hi");
    const { heard } = reading;
    for (const [i] of characters.slice(0, -1).entries()) {
      gate.next();
      await expect.poll(() => heard.text, PATIENT).toBe(characters.slice(0, i + 1).join(""));
      reading.drop();
      await reading.over;
      reading = await resume(service.url, heard);
    }
    gate.open();
    expect(await reading.over).toEqual({ whole: true });
    expect(heard).toMatchObject({ text: TEXT, restarts: 0, lastId: "0-end", end: { event: "turn.completed" } });

    for (let offset = 0; offset <= TEXT.length; offset++) {
      const headers = { "last-event-id": `0-${offset}` };
      const rest = await readStream(service.url, { path: streamOf(heard.turnId), headers });
      await rest.over;
      expect(TEXT.slice(0, offset) + rest.heard.text).toBe(TEXT);
      expect([rest.heard.restarts, rest.heard.end?.event]).toEqual([0, "turn.completed"]);
    }
    const none = await readStream(service.url, { path: streamOf(heard.turnId), headers: { "last-event-id": "0-end" } });
    expect(none.status).toBe(204);
  });

  // Bun in one file is as patient as Bun.
  it.skipIf(runtime === "binary")(
    "says now and then that it lives, and is not cut while the provider says nothing, nor is a plain caller",
    async (test) => {
      const { expect } = test;
      const provider = await providerForTest(test);
      const service = await serviceForTest(test, { runtime, url: await fresh(), provider });
      provider.behave(() => ({ headersAfter: LONG_MS }));
      const { reading } = await tell(service, await makeChat(service), "stream");
      const plain = service.call("POST", "/chat", { chat_id: await makeChat(service), message: "plain" });
      const follower = await readStream(service.url, { path: streamOf(reading.heard.turnId) });
      for (const one of [reading, follower]) {
        expect(await one.over).toEqual({ whole: true });
        expect(one.heard.text).toBe("Echo: stream");
        expect(one.comments.length).toBeGreaterThan(0);
      }
      expect((await plain).json.reply).toBe("Echo: plain");
    },
  );

  it("ends with its turn's end when the service is told to stop: whole if there is time, else with what there is", async (test) => {
    const { expect } = test;
    const provider = await providerForTest(test);
    const env = { DRAIN_TIMEOUT_S: "10" };
    const service = await serviceForTest(test, { runtime, url: await fresh(), provider, env });
    const gate = createGate(["in", " time"]);
    provider.behave(({ body }) =>
      body.messages.at(-1)?.content === "short" ? gate.script : { text: ["half"], afterwards: "stall" },
    );
    const short = (await tell(service, await makeChat(service), "short")).reading;
    const endless = (await tell(service, await makeChat(service), "endless")).reading;
    gate.next();
    await expect.poll(() => [short.heard.text, endless.heard.text], PATIENT).toEqual(["in", "half"]);
    const ended = service.end("SIGTERM");
    await expect.poll(() => service.logged.some((line) => line.includes("stopping")), PATIENT).toBe(true);
    gate.open();
    expect([await short.over, await endless.over]).toEqual([{ whole: true }, { whole: true }]);
    expect([short.heard.end?.event, short.heard.text]).toEqual(["turn.completed", "in time"]);
    expect(endless.heard).toMatchObject({
      text: "half",
      end: { event: "turn.failed", data: { status: "incomplete" } },
    });
    expect(await ended).toBe(0);
  });
});

it.concurrent.for(["node", "bun"] as const)(
  "a queued turn's reader on %s is told so at once, and when it is its turn",
  async (runtime, test) => {
    const { expect } = test;
    const provider = await providerForTest(test);
    const service = await serviceForTest(test, { runtime, url: await fresh(), provider });
    provider.behave(() => SILENT);
    const chatId = await makeChat(service);
    const first = (await tell(service, chatId, "one")).reading;
    const second = (await tell(service, chatId, "two")).reading;
    await expect.poll(() => second.frames.map(({ event }) => event), PATIENT).toEqual(["turn.started", "turn.status"]);
    expect(second.frames[1]?.data).toEqual({ status: "queued" });
    await expect.poll(provider.busy, PATIENT).toBe(1);
    provider.behave(() => ({}));
    await service.call("POST", `/api/v1/turns/${first.heard.turnId}/cancel`);
    await second.over;
    expect([first.heard.end?.event, second.heard.end?.event]).toEqual(["turn.cancelled", "turn.completed"]);
  },
);
