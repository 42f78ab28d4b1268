import { describe, expect, it } from "vitest";
import { databases } from "../support/databases.ts";
import { deleteChannel } from "../support/stream-chat-channels.ts";
import { changeMessage } from "../support/stream-chat-messages.ts";
import { messageEvent, signed } from "../support/stream-inbox.ts";
import { mirrored, PATIENT, shownIn, useMirror } from "../support/stream-mirror.ts";

const ADA = { user_id: "ada" };

describe.each(databases)("a conversation at Stream, from $database,", ({ fresh }) => {
  const scene = useMirror(fresh);
  const post = (path: string, body: unknown) => scene.app.call("POST", path, body);
  const newSession = async (more: object = {}) => (await post("/api/v1/sessions", { ...ADA, ...more })).json.id;
  const say = async (id: string, content: string, by: object = { sender_type: "user", sender_id: "ada" }) =>
    (await post(`/api/v1/sessions/${id}/messages`, { content, ...by })).json;
  const shown = (id: string, how?: { user: string }) => mirrored(scene.app, scene.fake, id, how);
  const messageIn = (id: string) => scene.fake.state.messages.get(id);

  it("is a channel of its user and the assistant, with each message under its own id, in order", async () => {
    const sent = (await post("/api/chat/send", { message: "Hello?", ...ADA })).json;
    const { members, custom, messages, frozen } = await shown(sent.conversation_id, { user: "ada" });
    expect(members.toSorted()).toEqual(["ada", "assistant"]);
    expect(custom).toMatchObject({ name: "Hello?", parley: { whole: true, status: "active", control: "assistant" } });
    expect(frozen).toBe(false);
    const turn = (await scene.app.call("GET", `/api/v1/turns/${sent.turn_id}`)).json;
    expect(messages.map(({ id }) => id)).toEqual([turn.user_message_id, turn.message_id]);
    expect(messages[1]).toMatchObject({
      text: sent.message,
      ai_generated: true,
      generating: false,
      status: "completed",
    });
    expect(messages[0]).not.toHaveProperty("ai_generated");
  });

  it("has its agents as members while they are in it, and takes nothing more once it has ended", async () => {
    const id = await newSession();
    await post(`/api/v1/sessions/${id}/transfer`, { to: "agent", agent_id: "grace" });
    await expect.poll(() => scene.fake.channel(id)?.members, PATIENT).toContain("grace");
    await say(id, "I am here", { sender_type: "agent", sender_id: "grace" });
    await post(`/api/v1/sessions/${id}/transfer`, { to: "agent", agent_id: "edsger" });
    await expect
      .poll(() => scene.fake.channel(id)?.members.toSorted(), PATIENT)
      .toEqual(["ada", "assistant", "edsger"]);
    await post(`/api/v1/sessions/${id}/end`, {});
    await expect.poll(() => scene.fake.channel(id)?.frozen, PATIENT).toBe(true);
    const channel = await shown(id);
    expect(channel.custom["parley"]).toMatchObject({ status: "ended", agent_id: "edsger" });
    expect(channel.messages.filter(({ type }) => type === "system").length).toBeGreaterThanOrEqual(2);
  });

  it("follows edits, deletions, reactions and attachments", async () => {
    const id = await newSession();
    const extensions = [
      {
        extension_type: "attachment",
        data: { url: "https://x.test/a.png", name: "a.png", mime_type: "image/png", size: 7 },
      },
    ];
    const first = (
      await post(`/api/v1/sessions/${id}/messages`, {
        ...{ content: "Look", sender_type: "user", sender_id: "ada", extensions },
      })
    ).json;
    const second = await say(id, "Oops");
    await shown(id);
    expect(messageIn(first.id)?.["attachments"]).toMatchObject([
      { type: "image", image_url: "https://x.test/a.png", title: "a.png", file_size: 7 },
    ]);
    await scene.app.call("PATCH", `/api/v1/messages/${first.id}`, { content: "Look at this" });
    const react = { extension_type: "reaction", data: { emoji: "👍" } };
    const reaction = (await post(`/api/v1/messages/${first.id}/extensions`, react)).json;
    await scene.app.call("DELETE", `/api/v1/messages/${second.id}`);
    await shown(id);
    expect(messageIn(first.id)).toMatchObject({ text: "Look at this" });
    expect(messageIn(second.id)).toMatchObject({ type: "deleted" });
    await scene.app.call("DELETE", `/api/v1/messages/${first.id}/extensions/${reaction.id}`);
    await shown(id);
    expect(scene.fake.reactions(first.id)).toEqual({});
  });

  it("is shown what a message says also where what hangs on it is more than Stream takes", async () => {
    const id = await newSession();
    const url = `https://x.test/${"a".repeat(2_000)}`;
    const extensions = [1, 2, 3].map((n) => ({ extension_type: "attachment", data: { url: url + n } }));
    const { id: messageId } = await say(id, "Look", { sender_type: "user", sender_id: "ada", extensions });
    await shown(id);
    expect(messageIn(messageId)).toMatchObject({ text: "Look", attachments: [] });
  });

  it("leaves alone a reaction that a client has just added there", async () => {
    const id = await newSession();
    const { id: messageId } = await say(id, "Nice");
    await shown(id);
    scene.fake.as("ada").react(messageId, "love");
    await scene.app.call("PATCH", `/api/v1/messages/${messageId}`, { content: "Nicer" });
    await expect.poll(() => messageIn(messageId)?.text, PATIENT).toBe("Nicer");
    expect(scene.fake.reactions(messageId)).toEqual({ love: ["ada"] });
  });

  it("has long texts in several parts, as many as there are, also after an edit", async () => {
    const id = await newSession();
    const long = "Ein Wort 🐘 ".repeat(1_200);
    const { id: messageId } = await say(id, long);
    const partsOf = () => scene.fake.channel(id)?.messages.filter((one) => one.id.startsWith(messageId)).length;
    await shown(id);
    expect(partsOf()).toBe(3);
    for (const [content, parts] of [
      [long + long, 6],
      ["short", 1],
      [long, 3],
    ] as const) {
      await scene.app.call("PATCH", `/api/v1/messages/${messageId}`, { content });
      await shown(id);
      expect(partsOf()).toBe(parts);
    }
    await scene.app.call("DELETE", `/api/v1/messages/${messageId}`);
    await shown(id);
    expect(partsOf()).toBe(1);
  });

  it("has as many parts as this service has given it, whatever a client says there", async () => {
    const id = await newSession();
    const { id: messageId } = await say(id, "One");
    await shown(id);
    const set = { parley: { parts: 300 } };
    changeMessage(scene.fake.state, { server: false, userId: "ada" }, { id: messageId, body: { set }, kept: true });
    const deletions = () => scene.fake.calls.filter(({ kind }) => kind === "DeleteMessage").length;
    const before = deletions();
    await scene.app.call("DELETE", `/api/v1/messages/${messageId}`);
    await say(id, "Two");
    await expect.poll(() => shownIn(scene.fake, id)?.map(({ text }) => text), PATIENT).toEqual(["Two"]);
    expect(deletions() - before).toBe(1);
  });

  it("goes when the conversation is deleted", async () => {
    const id = (await post("/chats", { ...ADA })).json.id;
    await expect.poll(() => scene.fake.channel(id), PATIENT).toBeDefined();
    await scene.app.call("DELETE", `/chats/${id}`);
    await expect.poll(() => scene.fake.channel(id), PATIENT).toBeUndefined();
  });

  it("is of people whose ids Stream does not take, and leaves the names that others have", async () => {
    scene.fake.as("bob");
    Object.assign(scene.fake.state.users.get("bob") ?? {}, { name: "Bob B.", image: "b.png" });
    const ids = ["Größe & Söhne", "bob", "eve@example.com"];
    for (const user_id of ids) {
      const id = await newSession({ user_id });
      await say(id, "Hi", { sender_type: "user", sender_id: user_id });
      await shown(id);
    }
    expect(scene.fake.state.users.get("bob")).toMatchObject({ name: "Bob B.", image: "b.png" });
    const names = [...scene.fake.state.users.values()].map(({ name }) => name);
    expect(names).toEqual(expect.arrayContaining(["Größe & Söhne", "eve@example.com"]));
  });

  it("shows nobody as the assistant, whatever they are called here", async () => {
    const id = await newSession({ user_id: "assistant" });
    const { id: messageId } = await say(id, "It was me", { sender_type: "user", sender_id: "assistant" });
    await expect.poll(() => messageIn(messageId)?.user.id, PATIENT).toMatch(/^utf8_/);
    expect(scene.fake.channel(id)?.members).toContain(messageIn(messageId)?.user.id);
  });

  it("is shown again from its beginning where its channel was deleted there", async () => {
    const id = await newSession();
    await say(id, "One");
    await shown(id);
    const from = { id: scene.fake.as("ada").send(id, "From there"), text: "From there" };
    const { bytes, headers } = signed(messageEvent("new", { channel: id, user: "ada" }, from));
    await scene.app.call("POST", "/webhooks/stream", new TextDecoder().decode(bytes), headers);
    await expect.poll(() => shownIn(scene.fake, id)?.map(({ status }) => status), PATIENT).toHaveLength(3);
    await shown(id);
    deleteChannel(scene.fake.state, { id, hard: true });
    await say(id, "Two");
    await shown(id);
    const texts = shownIn(scene.fake, id)?.map(({ text }) => text);
    expect(texts).toEqual(["One", "From there", expect.any(String), "Two"]);
  });

  it("loses nothing but the message that Stream refuses for good", async () => {
    const id = await newSession();
    await say(id, "One");
    await shown(id);
    scene.fake.state.users.delete("ada"); // who writes is known here, and not there any more
    const refused = await say(id, "Two");
    const { id: last } = await say(id, "Three", { sender_type: "agent", sender_id: "grace" });
    await expect.poll(() => messageIn(last)?.text, PATIENT).toBe("Three");
    expect(messageIn(refused.id)).toBeUndefined();
    scene.fake.as("ada");
  });
});
