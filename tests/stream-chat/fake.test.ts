import { createHmac } from "node:crypto";
import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import { gunzipSync } from "node:zlib";
import { describe, expect, it, onTestFinished } from "vitest";
import { openChannel, updateChannel } from "../../src/stream-chat/channels.ts";
import { deleteMessage, sendMessage, updateEphemeral, updateMessage } from "../../src/stream-chat/messages.ts";
import { userToken } from "../../src/stream-chat/tokens.ts";
import { upsertUsers } from "../../src/stream-chat/users.ts";
import { useStream } from "../support/stream-chat-client.ts";
import { Refusal } from "../support/stream-chat-state.ts";

/** What a test would believe without looking: the fake itself. */
describe("the fake Stream", () => {
  const parts = useStream({ maxMessageLength: 100 });
  let count = 0;
  const open = async () => {
    const id = `c-${++count}`;
    await upsertUsers(parts.stream, [{ id: "alice" }, { id: "assistant" }]);
    await openChannel(parts.stream, id, { createdById: "alice", members: ["alice", "assistant"] });
    return id;
  };
  const codeOf = (work: () => unknown) => {
    try {
      work();
    } catch (error) {
      if (error instanceof Refusal) return [error.status, error.code];
    }
    return null;
  };

  it("lets users do what is theirs, and nothing in a frozen channel", async () => {
    const [{ fake, stream }, channel] = [parts, await open()];
    const [alice, eve] = [fake.as("alice"), fake.as("eve")];
    const id = alice.send(channel, "Hi");
    expect(codeOf(() => eve.send(channel, "Hi"))).toEqual([403, 17]);
    expect(codeOf(() => eve.edit(id, "Hacked"))).toEqual([403, 17]);
    expect(codeOf(() => eve.delete(id))).toEqual([403, 17]);
    expect(codeOf(() => alice.edit(id, "x".repeat(101)))).toEqual([400, 20]);
    for (const text of ["x".repeat(101), "/giphy rock", "/nothing"]) alice.send(channel, text);
    alice.edit(id, "Hello");
    alice.react(id, "like");
    expect(fake.reactions(id)).toEqual({ like: ["alice"] });
    await updateChannel(stream, channel, { set: { frozen: true } });
    alice.send(channel, "Is anybody there?");
    expect(codeOf(() => alice.unreact(id, "like"))).toEqual([403, 17]);
    expect(fake.channel(channel)?.messages.map(({ text }) => text)).toEqual(["Hello"]);
  });

  it("takes a user's token for that user, and lets it do nothing that a server does", async () => {
    const { fake } = parts;
    await open();
    const authorization = await userToken(fake.secret, { userId: "alice", now: Date.now(), ttl: 60 });
    const headers = { authorization, "stream-auth-type": "jwt", "content-type": "application/json" };
    const call = (method: string, path: string, body: object) =>
      fetch(`${fake.url}${path}?api_key=${fake.apiKey}`, { method, headers, body: JSON.stringify(body) });
    const made = await call("POST", `/channels/messaging/of-alice-${++count}/query`, { data: { members: ["alice"] } });
    expect(made.status).toBe(201);
    expect((await call("POST", "/users", { users: { eve: { id: "eve" } } })).status).toBe(403);
    const { "stream-auth-type": _, ...without } = headers;
    expect((await fetch(`${fake.url}/app?api_key=${fake.apiKey}`, { headers: without })).status).toBe(401);
  });

  it("keeps an id taken that was softly deleted, and frees one that was deleted for good", async () => {
    const [{ stream }, channel] = [parts, await open()];
    const message = { id: `m-${++count}`, text: "Hi", user_id: "alice" };
    await sendMessage(stream, channel, message);
    await deleteMessage(stream, message.id, { hard: false });
    await expect(sendMessage(stream, channel, message)).rejects.toMatchObject({ kind: "exists" });
    const set = { text: "?" };
    await expect(updateMessage(stream, message.id, { set, userId: "alice" })).rejects.toMatchObject({ code: 16 });
    await deleteMessage(stream, message.id, { hard: true });
    expect(await sendMessage(stream, channel, message)).toMatchObject({ text: "Hi" });
  });

  it("does not take what is Stream's own for a field of a message", async () => {
    const [{ stream }, channel] = [parts, await open()];
    const message = { id: `m-${++count}`, text: "Hi", user_id: "alice", created_at: "2026-01-01T00:00:00Z" };
    await expect(sendMessage(stream, channel, message)).rejects.toMatchObject({ kind: "refused", code: 4 });
  });

  it("logs in order what was called and what clients were told", async () => {
    const [{ fake, stream }, channel] = [parts, await open()];
    fake.log.length = 0;
    const id = fake.as("alice").send(channel, "Hi");
    await updateMessage(stream, id, { set: { text: "Hello" }, userId: "alice" });
    await deleteMessage(stream, id, { hard: true });
    expect(fake.log.map((entry) => ("call" in entry ? entry.call.kind : entry.event.type))).toEqual([
      ...["message.new", "message.updated", "UpdateMessage", "message.deleted", "DeleteMessage"],
    ]);
  });

  describe("tells a webhook", () => {
    type Told = { headers: IncomingHttpHeaders; bytes: Buffer };

    /** A server that answers with these, then with 200; `cut` ends the connection. */
    async function listener(answers: (number | "cut")[] = []): Promise<{ url: string; told: Told[] }> {
      const told: Told[] = [];
      const server = createServer(async (request, response) => {
        const parts: Buffer[] = [];
        for await (const part of request) parts.push(part);
        told.push({ headers: request.headers, bytes: Buffer.concat(parts) });
        const answer = answers.shift() ?? 200;
        if (answer === "cut") response.socket?.resetAndDestroy();
        else response.writeHead(answer).end();
      });
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      onTestFinished(() => {
        parts.fake.hooks.to(null);
        server.close();
      });
      return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, told };
    }
    const signed = (body: Buffer) => createHmac("sha256", parts.fake.secret).update(body).digest("hex");
    const read = ({ bytes }: Told) => JSON.parse(bytes.toString());

    it("of what its users and its server do, as it stood then, with a signature over the body", async () => {
      const [{ fake, stream }, channel, hook] = [parts, await open(), await listener()];
      fake.hooks.to(hook.url);
      const id = fake.as("alice").send(channel, "Hi");
      await updateEphemeral(stream, id, { set: { text: "Hi th" }, userId: "alice" });
      fake.as("alice").edit(id, "Hi there");
      fake.as("alice").react(id, "like");
      await deleteMessage(stream, id, { hard: true });
      await fake.hooks.settled();
      expect(hook.told.map(read)).toMatchObject([
        { type: "message.new", cid: `messaging:${channel}`, message: { id, text: "Hi" }, user: { id: "alice" } },
        { type: "message.updated", message: { id, text: "Hi th" } },
        { type: "message.updated", message: { id, text: "Hi there" } },
        { type: "reaction.new", reaction: { type: "like", user_id: "alice" }, message: { id } },
        { type: "message.deleted", message: { id, type: "deleted" }, hard_delete: true },
      ]);
      for (const { headers, bytes } of hook.told) {
        expect(headers).toMatchObject({ "x-signature": signed(bytes), "x-api-key": fake.apiKey });
      }
      expect(new Set(hook.told.map(({ headers }) => headers["x-webhook-id"])).size).toBe(5);
    });

    it("packed, and signed before", async () => {
      const [{ fake }, channel, hook] = [parts, await open(), await listener()];
      fake.hooks.to(hook.url, { gzip: true });
      fake.as("alice").send(channel, "Hi");
      await fake.hooks.settled();
      const [one] = hook.told;
      expect(one?.bytes.subarray(0, 2).toString("hex")).toBe("1f8b");
      expect(one?.headers["x-signature"]).toBe(signed(gunzipSync(one?.bytes ?? "")));
    });

    it.each<[string, (number | "cut")[], (number | null)[]]>([
      ["three times where it fails", [500, 503, 500], [500, 503, 500]],
      ["again where it is busy", [429, 408], [429, 408, 200]],
      ["twice where the connection is cut", ["cut", "cut"], [null, null]],
      ["once where it refuses", [401], [401]],
    ])("%s, under one id", async (_, answers, statuses) => {
      const [{ fake }, channel, hook] = [parts, await open(), await listener([...answers])];
      fake.hooks.sent.length = 0;
      fake.hooks.to(hook.url);
      fake.as("alice").send(channel, "Hi");
      await fake.hooks.settled();
      expect(fake.hooks.sent.map(({ status }) => status)).toEqual(statuses);
      expect(hook.told.map(({ headers }) => headers["x-webhook-attempt"])).toEqual(statuses.map((_, i) => `${i + 1}`));
      expect(new Set(hook.told.map(({ headers }) => headers["x-webhook-id"])).size).toBe(1);
    });

    it("more than once where that is wanted, under one id", async () => {
      const [{ fake }, channel, hook] = [parts, await open(), await listener()];
      fake.hooks.to(hook.url, { times: 2 });
      fake.as("alice").send(channel, "Hi");
      await fake.hooks.settled();
      expect(hook.told.length).toBe(2);
      expect(hook.told[0]?.headers["x-webhook-id"]).toBe(hook.told[1]?.headers["x-webhook-id"]);
    });
  });
});
