import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startApp, type TestApp } from "../support/app.ts";
import { databases } from "../support/databases.ts";
import { type Receiver, startReceiver, verifies } from "../support/receiver.ts";
import { SECRET } from "../support/webhook-scene.ts";

const PATIENT = { interval: 5, timeout: 60_000 };

describe.each(databases)("the webhook, with $database,", ({ fresh }) => {
  let app: TestApp;
  let receiver: Receiver;
  beforeAll(async () => {
    receiver = await startReceiver();
    app = await startApp({ DATABASE_URL: await fresh(), WEBHOOK_URL: receiver.url, WEBHOOK_SECRET: SECRET });
  });
  afterAll(async () => {
    await app.stop();
    await receiver.close();
  });

  const revOf = async (id: string) => (await app.call("GET", `/api/v1/sessions/${id}`)).json.rev;
  /** What it was told of a session, once it knows its present state. */
  async function told(id: string) {
    const rev = await revOf(id);
    await expect.poll(() => receiver.of(id).at(-1)?.json.data.rev, PATIENT).toBe(rev);
    return receiver.of(id);
  }

  it("is told of a new session, then of each message and its turn as the API shows them, in order and once", async () => {
    const { id } = (await app.call("POST", "/api/v1/sessions", { metadata: { shop: 7 } })).json;
    const [born] = await told(id);
    expect(born?.json.data).toMatchObject({ after: -1, rev: 0, messages: [], turns: [] });
    expect(born?.json.data.session).toMatchObject({ id, metadata: { shop: 7 }, control: "assistant" });
    const { turn_id } = (await app.call("POST", "/chat", { chat_id: id, message: "Hello?" })).json;
    const deliveries = await told(id);
    const revs = deliveries.map(({ json }) => [json.data.after, json.data.rev]);
    expect(revs.map(([after]) => after)).toEqual([-1, ...revs.slice(0, -1).map(([, rev]) => rev)]);

    const { messages, unread, ...session } = (await app.call("GET", `/api/v1/sessions/${id}`)).json;
    const last = deliveries.at(-1)?.json;
    expect(last.type).toBe("session.changed");
    expect(last.data.session).toEqual(session);
    const shown = new Map(
      deliveries.flatMap(({ json }) => json.data.messages.map((one: { id: string }) => [one.id, one])),
    );
    expect([...shown.values()]).toEqual(messages);
    expect(last.data.turns).toEqual([(await app.call("GET", `/api/v1/turns/${turn_id}`)).json]);
    expect(last.timestamp >= last.data.turns[0].completed_at).toBe(true);
  });

  it("can tell by the signature that it was Parley, and when", async () => {
    const { id } = (await app.call("POST", "/chats", {})).json;
    const [delivery] = await told(id);
    if (!delivery) throw new Error("nothing was told");
    expect(await verifies(SECRET, delivery)).toBe(true);
    expect(delivery.path).toBe("/hooks?for=parley");
    expect(delivery.headers).toMatchObject({ "content-type": "application/json", "user-agent": /^parley\/\d/ });
    const { headers, text } = delivery;
    expect(await verifies(SECRET, { headers, text: text.replace('"after":-1', '"after":-2') })).toBe(false);
    expect(await verifies(SECRET, { headers: { ...headers, "webhook-id": "another" }, text })).toBe(false);
    expect(await verifies(SECRET, { headers: { ...headers, "webhook-timestamp": "1" }, text })).toBe(false);
    expect(await verifies(`whsec_${btoa("a secret of somebody else's tests")}`, delivery)).toBe(false);
  });

  it("is told of a deleted message without its text, and of a superseded answer as such", async () => {
    const { id } = (await app.call("POST", "/api/v1/sessions")).json;
    await app.call("PATCH", `/chats/${id}`, { title: "Numbers" });
    const said = {
      content: "My number is 555",
      sender_type: "user",
      sender_id: "anonymous",
      metadata: { secret: "555" },
    };
    const { id: messageId } = (await app.call("POST", `/api/v1/sessions/${id}/messages`, said)).json;
    const before = (await told(id)).length;
    await app.call("DELETE", `/api/v1/messages/${messageId}`);
    const [deletion] = (await told(id)).slice(before);
    expect(deletion?.json.data.messages).toMatchObject([
      { id: messageId, is_deleted: true, content: "", metadata: {} },
    ]);
    expect(deletion?.text).not.toContain("555");

    const { message_id } = (await app.call("POST", "/chat", { chat_id: id, message: "Hello?" })).json;
    await told(id);
    await app.call("POST", `/api/v1/messages/${message_id}/regenerate`);
    const { messages } = (await told(id)).at(-1)?.json.data ?? {};
    expect(messages).toEqual([
      expect.objectContaining({ id: message_id, is_superseded: true }),
      expect.objectContaining({ is_superseded: false, status: "completed" }),
    ]);
  });

  it("is told of a deleted session, last of all", async () => {
    const { id, user_id } = (await app.call("POST", "/chats", { user_id: "ada" })).json;
    await told(id);
    await app.call("PATCH", `/chats/${id}`, { title: "Going" });
    await app.call("DELETE", `/chats/${id}`);
    await expect.poll(() => receiver.of(id).at(-1)?.json.type, PATIENT).toBe("session.deleted");
    const { data, timestamp } = receiver.of(id).at(-1)?.json ?? {};
    expect(data).toEqual({ id, user_id, rev: 2, deleted_at: timestamp });
    expect(receiver.of(id).filter(({ json }) => json.type === "session.deleted")).toHaveLength(1);
  });
});
