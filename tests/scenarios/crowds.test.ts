import { describe, it } from "vitest";
import { databases, freshPostgres } from "../support/databases.ts";
import { PATIENT } from "../support/http-expect.ts";
import { pairsOf, providerForTest, serviceForTest } from "../support/http-worlds.ts";
import { makeChat, tell } from "../support/kill-scene.ts";
import { createGate } from "../support/stream-gate.ts";
import { type Reading, readStream } from "../support/stream-reader.ts";

const [{ fresh }] = databases;
const CROWD = 1_000;
/** Bun's own limit is 256 requests at once in a process; more would wait for each other. */
const MANY_CALLS = { BUN_CONFIG_MAX_HTTP_REQUESTS: "65336" };
const TEXT = ["Grüße", " an", " alle 👩‍👩‍👧", " und", " \u{1F600}"];

const ends = (readings: readonly Reading[]) =>
  Promise.all(
    readings.map(async ({ over, heard }) => {
      const { whole } = await over;
      return `${whole ? "" : "cut: "}${heard.end?.event} ${heard.text}`;
    }),
  );

describe.each(["node", "bun"] as const)("on %s", (runtime) => {
  it("1,000 readers of one turn each hear all of it, and it is answered once", async (test) => {
    const { expect } = test;
    const provider = await providerForTest(test);
    const service = await serviceForTest(test, { runtime, url: await fresh(), provider });
    const gate = createGate(TEXT);
    provider.behave(() => gate.script);
    const { reading } = await tell(service, await makeChat(service), "hi");
    gate.next();
    const path = `/api/v1/turns/${reading.heard.turnId}/stream`;
    const readings = await Promise.all(Array.from({ length: CROWD }, () => readStream(service.url, { path })));
    await expect.poll(() => readings.every(({ heard }) => heard.text !== ""), PATIENT).toBe(true);
    gate.open();
    expect(new Set(await ends(readings))).toEqual(new Set([`turn.completed ${TEXT.join("")}`]));
    expect(provider.asked).toHaveLength(1);
  });

  it("1,000 turns at once, each with its reader, are each answered once and heard whole", async (test) => {
    const { expect } = test;
    const provider = await providerForTest(test);
    const service = await serviceForTest(test, { runtime, url: await fresh(), provider, env: MANY_CALLS });
    const gate = createGate(["Echo: "]);
    provider.behave(({ body }) => ({ ...gate.script, text: ["Echo: ", body.messages.at(-1)?.content ?? ""] }));
    const messages = Array.from({ length: CROWD }, (_, i) => `number ${i} 🐚`);
    const send = (message: string) =>
      readStream(service.url, { path: "/api/chat/send", body: { message, stream: true } });
    const readings = await Promise.all(messages.map(send));
    await expect.poll(provider.busy, PATIENT).toBe(CROWD);
    gate.open();
    expect(await ends(readings)).toEqual(messages.map((message) => `turn.completed Echo: ${message}`));
    expect(provider.asked).toHaveLength(CROWD);
    const answers = await Promise.all(
      readings.map(({ heard }) => service.call("GET", `/api/v1/turns/${heard.turnId}`).then(({ json }) => json.status)),
    );
    expect(new Set(answers)).toEqual(new Set(["completed"]));
  });

  it("fifty messages at once to one conversation are all answered, in the order in which they are stored", async (test) => {
    const { expect } = test;
    const provider = await providerForTest(test);
    const service = await serviceForTest(test, { runtime, url: await fresh(), provider });
    const gate = createGate(["held back"]);
    provider.behave(() => gate.script);
    const chat_id = await makeChat(service);
    const refused = new Set<string>();
    const statuses = new Set<number>();
    const messages = Array.from({ length: 50 }, (_, i) => `number ${i}`);
    const sent = messages.map(async (message) => {
      const key = { "idempotency-key": message.replace(" ", "-") };
      for (;;) {
        const { status, json } = await service.call("POST", "/chat", { chat_id, message }, key);
        statuses.add(status);
        if (status !== 429) return json.reply;
        refused.add(message);
      }
    });
    // One is answered and sixteen wait: there is room for no more, and those who have waited two seconds are told so.
    await expect.poll(() => refused.size, PATIENT).toBe(33);
    expect(statuses).toEqual(new Set([429]));
    provider.behave(() => ({}));
    gate.open();
    const replies = await Promise.all(sent);
    expect(replies.filter((reply) => reply === "held back")).toHaveLength(1);
    const pairs = pairsOf((await service.call("GET", `/chats/${chat_id}/messages`)).json);
    expect(pairs.map(([question]) => question).sort()).toEqual(messages.toSorted());
    const [, ...rest] = pairs;
    expect(rest).toEqual(rest.map(([question]) => [question, `Echo: ${question}`]));
    const order = provider.asked.map(({ body }) => body.messages.at(-1)?.content);
    expect(order).toEqual(pairs.map(([question]) => question));
  });

  it("fifty requests at once with one key are one question, one call of the provider and one answer", async (test) => {
    const { expect } = test;
    const provider = await providerForTest(test);
    const service = await serviceForTest(test, { runtime, url: await fresh(), provider });
    provider.behave(() => ({ headersAfter: 300 }));
    const chat_id = await makeChat(service);
    const key = { "idempotency-key": "the-only-one" };
    const send = () => service.call("POST", "/chat", { chat_id, message: "once" }, key);
    const answers = await Promise.all(Array.from({ length: 50 }, send));
    expect(new Set(answers.map(({ status, text }) => `${status} ${text}`)).size).toBe(1);
    expect(answers[0]?.json.reply).toBe("Echo: once");
    expect(provider.asked).toHaveLength(1);
    expect(pairsOf((await service.call("GET", `/chats/${chat_id}/messages`)).json)).toEqual([["once", "Echo: once"]]);
  });
});

describe("two instances on one Postgres", () => {
  it("a turn of one is followed and cancelled through the other, and its provider is hung up on", async (test) => {
    const { expect } = test;
    const provider = await providerForTest(test);
    const url = await freshPostgres();
    const one = await serviceForTest(test, { runtime: "node", url, provider });
    const other = await serviceForTest(test, { runtime: "bun", url, provider });
    const gate = createGate(TEXT);
    provider.behave(() => gate.script);
    const { reading } = await tell(one, await makeChat(one), "hi");
    const path = `/api/v1/turns/${reading.heard.turnId}`;
    const follower = await readStream(other.url, { path: `${path}/stream` });
    gate.next();
    await expect.poll(() => follower.heard.text, PATIENT).toBe(TEXT[0]);
    gate.next();
    await expect.poll(() => follower.heard.text, PATIENT).toBe(`${TEXT[0]}${TEXT[1]}`);
    const cancelled = other.call("POST", `${path}/cancel`);
    await expect.poll(provider.left, PATIENT).toBe(1);
    expect((await cancelled).json).toMatchObject({ status: "incomplete", error: { code: "turn_cancelled" } });
    expect(await ends([reading, follower])).toEqual(Array(2).fill(`turn.cancelled ${TEXT[0]}${TEXT[1]}`));
  });

  it("one key, raced on both, runs once", async (test) => {
    const { expect } = test;
    const provider = await providerForTest(test);
    const url = await freshPostgres();
    const services = await Promise.all(
      (["node", "bun"] as const).map((runtime) => serviceForTest(test, { runtime, url, provider })),
    );
    provider.behave(() => ({ headersAfter: 200 }));
    for (let race = 0; race < 5; race++) {
      const before = provider.asked.length;
      const key = { "idempotency-key": `race-${race}` };
      const send = (i: number) => services[i % 2]?.call("POST", "/api/chat/send", { message: `race ${race}` }, key);
      const answers = await Promise.all(Array.from({ length: 10 }, (_, i) => send(i)));
      expect(new Set(answers.map((called) => `${called?.status} ${called?.text}`)).size).toBe(1);
      expect(answers[0]?.json.message).toBe(`Echo: race ${race}`);
      expect(provider.asked).toHaveLength(before + 1);
    }
    expect((await services[0]?.call("GET", "/chats"))?.json.total).toBe(5);
  });

  it("while a turn runs on one, the other refuses who would not wait, queues who would, and interrupts for who may", async (test) => {
    const { expect } = test;
    const provider = await providerForTest(test);
    const url = await freshPostgres();
    const one = await serviceForTest(test, { runtime: "node", url, provider });
    const other = await serviceForTest(test, { runtime: "node", url, provider });
    provider.behave(() => ({ text: ["half"], afterwards: "stall" }));
    const chat_id = await makeChat(one);
    const { reading } = await tell(one, chat_id, "one");
    await expect.poll(() => reading.heard.text, PATIENT).toBe("half");
    const refused = await other.call("POST", "/chat", { chat_id, message: "two", if_busy: "reject" });
    const { turnId } = reading.heard;
    expect([refused.status, refused.json]).toMatchObject([409, { code: "conversation_busy", turn_id: turnId }]);
    const queued = (await tell(other, chat_id, "three")).reading;
    await expect.poll(() => queued.frames.at(-1)?.data, PATIENT).toEqual({ status: "queued" });
    provider.behave(() => ({}));
    const answered = other.call("POST", "/chat", { chat_id, message: "four", if_busy: "interrupt" });
    await expect.poll(provider.left, PATIENT).toBe(1);
    expect((await answered).json.reply).toMatch(/four$/);
    expect(await ends([reading, queued])).toEqual(["turn.cancelled half", "turn.cancelled "]);
    const contents = (await one.call("GET", `/chats/${chat_id}/messages`)).json.map(
      ({ content }: { content: string }) => content,
    );
    expect(contents.slice(0, 4)).toEqual(["one", "half", "three", "four"]);
  });
});
