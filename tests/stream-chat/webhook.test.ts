import { createHash, randomUUID } from "node:crypto";
import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { as, SECRET } from "../support/app.ts";
import { expectProblem, PATIENT } from "../support/http-expect.ts";
import { declares, useApp } from "../support/http-setup.ts";
import { APP, type Event, messageEvent, newChannel, signed } from "../support/stream-inbox.ts";

const MOST = 20_000;
const STREAM = {
  STREAM_API_KEY: APP.apiKey,
  STREAM_SECRET: APP.secret,
  STREAM_BASE_URL: "http://127.0.0.1:9", // nobody: no test may reach for the real one
};

describe("POST /webhooks/stream", () => {
  const parts = useApp({ ...STREAM, JWT_SECRET: SECRET, MAX_BODY_BYTES: String(MOST) });
  type Signed = ReturnType<typeof signed>;
  const post = ({ bytes, headers }: Signed, changed: Record<string, string> = {}) =>
    parts.app.request("/webhooks/stream", {
      method: "POST",
      headers: { ...headers, ...changed, "content-length": String(bytes.length) },
      body: bytes.slice(),
    });
  const hello = (more: Event = {}) => {
    const talk = newChannel();
    return {
      ...talk,
      id: randomUUID(),
      event: { ...messageEvent("new", talk, { id: randomUUID(), text: "Hello?" }), ...more },
    };
  };
  const messagesOf = async ({ channel, user }: { channel: string; user: string }) => {
    const { json } = await parts.app.call("GET", `/api/v1/sessions/${channel}/messages`, undefined, await as(user));
    return Array.isArray(json) ? json.map(({ content }: { content: string }) => content) : json.status;
  };
  const answers = (talk: { channel: string; user: string }) =>
    expect.poll(() => messagesOf(talk), PATIENT).toEqual(["Hello?", "Echo: Hello?"]);

  it("takes what is signed, and the assistant answers it", async () => {
    const { event, ...talk } = hello();
    const called = await post(signed(event));
    expect([called.status, called.json]).toEqual([200, { status: "stored" }]);
    await answers(talk);
  });

  it.each([
    ["says so", { gzip: true }, {}],
    ["does not say so", { gzip: true }, { "content-encoding": "identity" }],
    ["is said to be, and is not", {}, { "content-encoding": "gzip" }],
  ])("takes what is packed by its bytes, where it %s", async (_, how, headers) => {
    const { event, ...talk } = hello();
    expect((await post(signed(event, how), headers)).status).toBe(200);
    await answers(talk);
  });

  it.each<[string, (event: Event) => Signed, Record<string, string>]>([
    ["another secret", (event) => signed(event, { secret: "another" }), {}],
    ["another key", (event) => signed(event, { apiKey: "another" }), {}],
    ["no key", (event) => signed(event), { "x-api-key": "" }],
    ["no signature", (event) => signed(event), { "x-signature": "" }],
    ["a signature that is too long", (event) => signed(event), { "x-signature": "0".repeat(66) }],
    ["a signature of something else", (event) => signed(event), { "x-signature": "0".repeat(64) }],
    [
      "a signature of the packed bytes",
      (event) => {
        const packed = signed(event, { gzip: true });
        return { ...packed, headers: signed(packed.bytes).headers };
      },
      {},
    ],
    ["a body that is broken gzip", (event) => ({ ...signed(event), bytes: new Uint8Array([0x1f, 0x8b, 8, 0, 1]) }), {}],
    [
      "a body that was changed",
      (event) => {
        const { bytes, headers } = signed(event);
        return { headers, bytes: Buffer.from(Buffer.from(bytes).toString().replace("Hello?", "Hallo?")) };
      },
      {},
    ],
    ["no body", (event) => ({ ...signed(event), bytes: new Uint8Array() }), {}],
  ])("takes nothing with %s", async (_, make, headers) => {
    const { event, ...talk } = hello();
    for (const sent of [make(event), make({ ...event, type: "message.read" })]) {
      expectProblem(await post(sent, headers), 401, "unauthorized");
    }
    expect((await post(signed(event))).json).toEqual({ status: "stored" }); // nothing of it was stored
    await answers(talk);
  });

  it("takes no more than a body may have, also once it is unpacked", async () => {
    const large = JSON.stringify({ type: "message.new", filling: "a".repeat(MOST) });
    for (const gzip of [false, true]) expectProblem(await post(signed(large, { gzip })), 413, "payload_too_large");
    const bomb = { ...signed({}), bytes: new Uint8Array(gzipSync(Buffer.alloc(10_000_000))) };
    expect(bomb.bytes.length).toBeLessThan(MOST);
    expectProblem(await post(bomb), 413, "payload_too_large"); // whoever sends it
  });

  it("knows a webhook again by its id, and one without by what it says", async () => {
    const { event } = hello();
    const [id, other] = [randomUUID(), randomUUID()];
    const statuses = [];
    for (const one of [id, id, other, null, null]) statuses.push((await post(signed(event, { id: one }))).json.status);
    expect(statuses).toEqual(["stored", "known", "stored", "stored", "known"]);
    const digest = createHash("sha256").update(JSON.stringify(event)).digest("hex");
    expect((await post(signed({ ...event, a: 1 }, { id: `sha256:${digest}` }))).json.status).toBe("known");
    expect((await post(signed(event), { "x-webhook-id": "a".repeat(256) })).json.status).toBe("known");
  });

  it("says of what is no JSON that it is none, where it is signed", async () => {
    expectProblem(await post(signed("{")), 400, "malformed_json");
    expect((await post(signed("[]"))).json).toEqual({ status: "stored" }); // noted as malformed
    expect((await post(signed(`${'{"type":"message.new","a":'.repeat(700)}1${"}".repeat(700)}`))).status).toBe(200);
  });

  it("is answered for events of which nothing is made", async () => {
    for (const more of [{ type: "message.read" }, { type: "channel.updated" }, { channel_type: "team" }]) {
      expect((await post(signed(hello(more).event))).json).toEqual({ status: "other" });
    }
  });

  declares(parts);
});

describe("where requests are limited", () => {
  const parts = useApp({ ...STREAM, JWT_SECRET: SECRET, RATE_LIMIT: "5/h" });

  it("webhooks are not held to the rate of an address: events would be lost", async () => {
    const { bytes, headers } = signed({ type: "message.read" });
    const post = { method: "POST", headers, body: bytes.slice() };
    for (let i = 0; i < 12; i++) expect((await parts.app.request("/webhooks/stream", post)).status).toBe(200);
    expect((await parts.app.call("GET", "/chats")).status).toBe(401); // they took nothing from what others have
    for (let i = 0; i < 6; i++) await parts.app.call("GET", "/chats");
    expect((await parts.app.call("GET", "/chats")).status).toBe(429);
    expect((await parts.app.request("/webhooks/stream", post)).status).toBe(200);
  });
});

describe("without Stream's key", () => {
  const parts = useApp({ JWT_SECRET: SECRET });

  it("there is no such route", async () => {
    const { bytes, headers } = signed({});
    const called = await parts.app.request("/webhooks/stream", { method: "POST", headers, body: bytes.slice() });
    expectProblem(called, 404, "not_found");
    const { json } = await parts.app.call("GET", "/openapi.json");
    expect(Object.keys(json.paths)).not.toContain("/webhooks/stream");
  });
});
