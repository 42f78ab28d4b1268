import { describe, expect, it, onTestFinished } from "vitest";
import {
  addMembers,
  deleteChannel,
  openChannel,
  removeMembers,
  sendEvent,
  updateChannel,
} from "../../src/stream-chat/channels.ts";
import { StreamChatError } from "../../src/stream-chat/failures.ts";
import {
  deleteMessage,
  getMessage,
  sendMessage,
  updateEphemeral,
  updateMessage,
} from "../../src/stream-chat/messages.ts";
import { addReaction, listReactions, removeReaction } from "../../src/stream-chat/reactions.ts";
import { upsertUsers } from "../../src/stream-chat/users.ts";
import type { Fault } from "../support/stream-chat-answers.ts";
import { type Parts, useStream } from "../support/stream-chat-client.ts";

let ids = 0;
const newId = () => `m-${++ids}`;

/** A channel of its own, of alice and bob. */
async function givenChannel({ stream }: Parts): Promise<string> {
  const id = `c-${++ids}`;
  await upsertUsers(stream, [{ id: "alice", name: "Alice" }, { id: "bob" }, { id: "assistant" }]);
  await openChannel(stream, id, { createdById: "alice", members: ["alice", "bob"] });
  return id;
}

async function failureOf(work: Promise<unknown>): Promise<StreamChatError> {
  const error: unknown = await work.catch((reason: unknown) => reason);
  if (error instanceof StreamChatError) return error;
  throw new Error(`no failure of Stream: ${error}`);
}

describe("a client of Stream Chat", () => {
  const parts = useStream();

  it("makes users, a channel and its members, and tells how long a text may be and whether it is frozen", async () => {
    const { stream, fake } = parts;
    const id = await givenChannel(parts);
    const opened = await openChannel(stream, id, {
      createdById: "bob",
      members: ["assistant"],
      custom: { late: true },
    });
    expect(opened).toEqual({ maxMessageLength: 5000, frozen: false, name: null, createdAt: expect.any(Number) });
    await addMembers(stream, id, { members: ["assistant", "bob"] });
    await removeMembers(stream, id, { members: ["bob", "nobody"] });
    await updateChannel(stream, id, { set: { name: "Help", frozen: true } });
    expect(fake.channel(id)).toMatchObject({
      ...{ cid: `messaging:${id}`, frozen: true, custom: { name: "Help" }, members: ["alice", "assistant"] },
    });
    expect(await openChannel(stream, id, { createdById: "alice" })).toMatchObject({ frozen: true });
  });

  it("speaks in the name of users, changes what was said, and takes it back", async () => {
    const { stream, fake } = parts;
    const [channel, id] = [await givenChannel(parts), newId()];
    const sent = await sendMessage(stream, channel, { id, text: "Hi", user_id: "alice", ai_generated: true });
    expect(sent).toMatchObject({ id, text: "Hi", user: { id: "alice" }, ai_generated: true, type: "regular" });
    await updateMessage(stream, id, { set: { text: "Hello", mood: 1 }, userId: "alice" });
    expect(await getMessage(stream, id)).toMatchObject({ text: "Hello", mood: 1 });
    await deleteMessage(stream, id, { hard: false });
    expect(await getMessage(stream, id)).toMatchObject({ text: "", type: "deleted", deleted_at: expect.any(String) });
    await deleteMessage(stream, id, { hard: true });
    expect(await failureOf(getMessage(stream, id))).toMatchObject({ kind: "not_found", status: 404, code: 16 });
    expect(fake.channel(channel)?.messages).toEqual([]);
  });

  it("counts each change that it stores in the budget of those that it only shows", async () => {
    const [now, channel, id] = [Date.now(), await givenChannel(parts), newId()];
    const stream = parts.client({ clock: () => now });
    await sendMessage(stream, channel, { id, text: "", user_id: "assistant" });
    for (let i = 0; i < 8; i++) await updateMessage(stream, id, { set: { text: `${i}` }, userId: "assistant" });
    expect(stream.quota.budget.tryTake("live")).toBe(false);
    expect(parts.client({ clock: () => now }).quota.budget.tryTake("live")).toBe(true);
  });

  it("shows text that grows without storing it", async () => {
    const { stream, fake } = parts;
    const [channel, id] = [await givenChannel(parts), newId()];
    await sendMessage(stream, channel, { id, text: "", user_id: "assistant" });
    await updateEphemeral(stream, id, { set: { text: "Hel" }, userId: "assistant" });
    expect((await getMessage(stream, id)).text).toBe("");
    expect(fake.log).toContainEqual({
      event: expect.objectContaining({
        type: "message.updated",
        message: expect.objectContaining({ id, text: "Hel" }),
      }),
    });
  });

  it("reacts in the name of users, once each, and lists all reactions however many there are", async () => {
    const { stream, fake } = parts;
    const [channel, id] = [await givenChannel(parts), newId()];
    await sendMessage(stream, channel, { id, text: "Hi", user_id: "alice" });
    await addReaction(stream, id, { type: "👍", userId: "bob" });
    await addReaction(stream, id, { type: "👍", userId: "bob" });
    expect(await listReactions(stream, id)).toEqual([{ type: "👍", userId: "bob", isOurs: true }]);
    for (let i = 0; i < 600; i++) fake.as(`fan-${i}`).react(id, "love");
    expect(new Set((await listReactions(stream, id)).map(({ userId }) => userId)).size).toBe(601);
    expect((await listReactions(stream, id)).filter(({ isOurs }) => isOurs)).toHaveLength(1);
    await addReaction(stream, id, { type: "a/b?#", userId: "bob" });
    await removeReaction(stream, id, { type: "a/b?#", userId: "bob" });
    expect(Object.keys(fake.reactions(id))).toEqual(["👍", "love"]);
    await removeReaction(stream, id, { type: "👍", userId: "bob" });
    expect(fake.reactions(id)["👍"]).toBeUndefined();
    expect((await failureOf(removeReaction(stream, id, { type: "👍", userId: "bob" }))).kind).toBe("not_found");
  });

  it("hands events to a channel", async () => {
    const { stream, fake } = parts;
    const channel = await givenChannel(parts);
    const event = { type: "ai_indicator.update", user_id: "assistant", ai_state: "AI_STATE_THINKING", message_id: "m" };
    await sendEvent(stream, channel, event);
    expect(fake.channel(channel)?.events).toEqual([expect.objectContaining(event)]);
  });

  it("deletes a channel with all that was in it", async () => {
    const { stream, fake } = parts;
    const [channel, id] = [await givenChannel(parts), newId()];
    await sendMessage(stream, channel, { id, text: "Hi", user_id: "alice" });
    await deleteChannel(stream, channel);
    expect(fake.channel(channel)).toBeUndefined();
    expect((await failureOf(getMessage(stream, id))).kind).toBe("not_found");
    expect((await failureOf(deleteChannel(stream, channel))).kind).toBe("not_found");
  });

  it("tells a taken id, a text that is too long, and what is refused for good apart", async () => {
    const { stream } = parts;
    const [channel, other, id] = [await givenChannel(parts), await givenChannel(parts), newId()];
    const message = { id, text: "Hi", user_id: "alice" };
    await sendMessage(stream, channel, message);
    const failures = [
      await failureOf(sendMessage(stream, other, message)),
      await failureOf(sendMessage(stream, channel, { ...message, id: newId(), text: "x".repeat(5001) })),
      await failureOf(updateMessage(stream, id, { set: { text: "x".repeat(5001) }, userId: "alice" })),
      await failureOf(sendMessage(stream, channel, { ...message, id: newId(), user_id: "stranger" })),
      await failureOf(addMembers(stream, channel, { members: ["stranger"] })),
      await failureOf(sendMessage(stream, "nowhere", { ...message, id: newId() })),
    ];
    expect(failures.map(({ kind, status, code }) => [kind, status, code])).toEqual([
      ["exists", 400, 4],
      ["too_long", 400, 20],
      ["too_long", 400, 20],
      ["refused", 400, 4],
      ["refused", 400, 4],
      ["not_found", 404, 16],
    ]);
    for (const { message: text } of failures) expect(text).toMatch(/^Stream answered \d+, with code \d+$/);
  });

  it("keeps a text that Stream would take for a command", async () => {
    const { stream, fake } = parts;
    const [channel, id] = [await givenChannel(parts), newId()];
    const sent = await sendMessage(stream, channel, { id, text: "/giphy rock", user_id: "alice" });
    expect(sent).toMatchObject({ id, text: "/giphy rock", type: "regular" });
    expect(fake.channel(channel)?.messages).toMatchObject([{ id, text: "/giphy rock" }]);
  });

  it("does not believe that a message is kept that Stream answers with and throws away", async () => {
    const { stream, fake } = parts;
    const channel = await givenChannel(parts);
    fake.state.tooLong = "message";
    onTestFinished(() => {
      fake.state.tooLong = "code";
    });
    const message = { id: newId(), text: "x".repeat(5001), user_id: "alice" };
    expect((await failureOf(sendMessage(stream, channel, message))).kind).toBe("not_kept");
    expect(fake.channel(channel)?.messages).toEqual([]);
  });

  it("says where what was made up for a message, a channel or a user is more than Stream takes", async () => {
    const { stream } = parts;
    const [channel, more] = [await givenChannel(parts), "x".repeat(5 * 1024)];
    const message = { id: newId(), text: "Hi", user_id: "alice", more };
    expect(await failureOf(sendMessage(stream, channel, message))).toMatchObject({ kind: "too_big", code: 22 });
    expect((await failureOf(updateChannel(stream, channel, { set: { more } }))).kind).toBe("too_big");
    expect((await failureOf(upsertUsers(stream, [{ id: "alice", more }]))).kind).toBe("too_big");
  });

  it("speaks also where a channel is frozen, since it is the server", async () => {
    const { stream, fake } = parts;
    const [channel, id] = [await givenChannel(parts), newId()];
    await updateChannel(stream, channel, { set: { frozen: true } });
    await sendMessage(stream, channel, { id, text: "It is over", user_id: "alice" });
    expect(fake.channel(channel)?.messages.map((message) => message.id)).toEqual([id]);
  });

  it.each([
    ["another secret", { secret: "another" }, 43],
    ["another key", { apiKey: "another" }, 2],
    ["a clock that is late", { clock: () => Date.now() - 3_600_000 }, 40],
    ["a clock that is early", { clock: () => Date.now() + 3_600_000 }, 42],
  ])("says that its token is at fault with %s", async (_, options, code) => {
    const stream = parts.client(options);
    expect(await failureOf(getMessage(stream, "m"))).toMatchObject({ kind: "token", status: 401, code });
  });

  it("says when it may come again where it came too often, and what is left of each quota", async () => {
    const { fake } = parts;
    const stream = parts.client();
    await failureOf(getMessage(stream, "m"));
    const before = stream.quota.left().GetMessage;
    expect(before).toMatchObject({ limit: 1000, remaining: expect.any(Number) });
    fake.limit("GetMessage", 1);
    const failure = await failureOf(getMessage(stream, "m"));
    fake.limit("GetMessage", 1000);
    expect(failure).toMatchObject({ kind: "rate_limited", status: 429, code: 9 });
    expect(failure.retryAfterMs).toBeGreaterThan(0);
    expect(failure.retryAfterMs).toBeLessThanOrEqual(60_000);
    expect(stream.quota.left().GetMessage?.remaining).toBe(0);
  });

  it.each<[string, Fault, number | null]>([
    ["fails", { how: 500 }, 500],
    ["is away behind its proxy", { how: 503 }, 503],
    ["cuts the connection", { how: "cut" }, null],
    ["does not answer in time", { how: "stall" }, null],
    ["does as asked, and cuts the connection", { how: "cut", done: true }, null],
  ])("says that Stream is not available where it %s", async (_, fault, status) => {
    const { fake } = parts;
    const channel = await givenChannel(parts);
    const stream = parts.client({ timeoutMs: fault.how === "stall" ? 1_000 : 60_000 });
    const message = { id: newId(), text: "Hi", user_id: "alice" };
    fake.behave(() => fault);
    onTestFinished(() => fake.behave(() => undefined));
    const failure = await failureOf(sendMessage(stream, channel, message));
    expect(failure).toMatchObject({ kind: "unavailable", status, retryAfterMs: null });
    fake.behave(() => undefined);
    const again = sendMessage(stream, channel, message);
    if (fault.done) expect((await failureOf(again)).kind).toBe("exists");
    else expect((await again).id).toBe(message.id);
  });

  it("says the same where nobody listens, and goes on when Stream is back", async () => {
    const { fake, stream } = parts;
    const channel = await givenChannel(parts);
    await fake.down();
    expect((await failureOf(openChannel(stream, channel, { createdById: "alice" }))).kind).toBe("unavailable");
    await fake.up();
    expect(await openChannel(stream, channel, { createdById: "alice" })).toMatchObject({ frozen: false });
  });

  it("ends a call with the reason for which it is aborted", async () => {
    const { fake, stream } = parts;
    const stop = new AbortController();
    const reason = new Error("stopped");
    fake.behave(() => {
      stop.abort(reason);
      return { how: "stall" };
    });
    onTestFinished(() => fake.behave(() => undefined));
    await expect(getMessage(stream, "m", { signal: stop.signal })).rejects.toBe(reason);
    await expect(upsertUsers(stream, [{ id: "zoe" }], { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    expect(fake.state.users.has("zoe")).toBe(false);
  });

  it("takes an answer that is none of Stream's for an outage", async () => {
    const { fake } = parts;
    const page = { status: 200, header: () => undefined, text: async () => "<html>", release() {} };
    const stream = parts.client({ send: async () => page });
    expect(await failureOf(getMessage(stream, "m"))).toMatchObject({ kind: "unavailable", status: 200 });
    expect(fake.calls.length).toBeGreaterThan(0);
  });
});
