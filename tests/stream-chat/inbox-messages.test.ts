import { randomUUID } from "node:crypto";
import { eq } from "drizzle-orm";
import { describe, expect, it } from "vitest";
import { findCalled } from "../../src/core/client-ids.ts";
import { deleteConversation } from "../../src/core/conversation-deletion.ts";
import { findPost } from "../../src/core/thread.ts";
import { beginTurn } from "../../src/core/turns.ts";
import { channelIdOf, conversationIdOf, messageIdOf, streamIdsOf } from "../../src/stream-chat/ids.ts";
import { streamUserId } from "../../src/stream-chat/users.ts";
import {
  as,
  change,
  expectTrueCounts,
  messagesOf,
  NOW,
  newConversation,
  startInstance,
  turnsOf,
} from "../support/core-instance.ts";
import { answering, answerTo, eventually, testModels } from "../support/core-models.ts";
import { ADMIN, ANN, ASK, accept, END, move, newSession } from "../support/core-sessions.ts";
import { databases } from "../support/databases.ts";
import { useDatabase } from "../support/db-handles.ts";
import { ASSISTANT, at, before, messageEvent, newChannel, startInbox } from "../support/stream-inbox.ts";

const contents = (messages: { role: string; content: string }[]) =>
  messages.map(({ role, content }) => `${role}: ${content}`);

describe.each(databases)("what is said at Stream, on $database", ({ fresh }) => {
  const handles = useDatabase(fresh);
  const open = (models = answering()) => {
    const deps = startInstance(handles.db, models);
    return { deps, inbox: startInbox(deps) };
  };
  const thread = (id: string) => messagesOf(handles.db, id).then(contents);
  const answered = (id: string, question: string) =>
    eventually(async () => expect(await thread(id)).toContain(`assistant: ${answerTo(question)}`));
  const row = async (id: string) => {
    const { conversations: c } = handles.db.tables;
    const [found] = await handles.db.select().from(c).where(eq(c.id, id));
    return found;
  };

  describe("in a channel that is not known", () => {
    it("makes a live conversation of its sender, and is answered", async () => {
      const { inbox } = open();
      const talk = newChannel();
      const id = randomUUID();
      expect(await inbox.work(messageEvent("new", talk, { id, text: "Hello?" }))).toBeNull();
      await answered(talk.channel, "Hello?");
      expect(await row(talk.channel)).toMatchObject({
        ...{ userId: talk.user, isLive: true, control: "assistant", title: "Hello?", messageCount: 2 },
      });
      const [question] = await messagesOf(handles.db, talk.channel);
      expect(question).toMatchObject({ id, role: "user", senderId: talk.user });
      expect(question?.rev).toBe(question?.seq); // the mirror can tell that nothing was changed since
      expect(await streamIdsOf(handles.db, [id])).toEqual(new Map([[id, id]]));
      await expectTrueCounts(handles.db, talk.channel);
    });

    it("is kept under ids that are made of what Stream calls it, where these are no UUIDs", async () => {
      const { inbox } = open();
      const talk = newChannel(`!members-${randomUUID().slice(0, 8)}`);
      const id = `${talk.user}-${randomUUID()}`;
      await inbox.work(messageEvent("new", talk, { id, text: "Hello?" }));
      const conversationId = conversationIdOf(talk.channel);
      await answered(conversationId, "Hello?");
      expect(await channelIdOf(handles.db, conversationId)).toBe(talk.channel);
      expect(await streamIdsOf(handles.db, [messageIdOf(id)])).toEqual(new Map([[messageIdOf(id), id]]));
      // Its client calls it by the channel's id on the coaching surface, too.
      expect(await findCalled(handles.db, as("user", talk.user), talk.channel)).toBe(conversationId);
    });

    it("is kept beside what its sender has under that id already, which goes on under it", async () => {
      const { deps, inbox } = open();
      const talk = newChannel(`of-the-client-${randomUUID().slice(0, 8)}`);
      const own = { conversationId: null, clientId: talk.channel, content: "First", model: undefined };
      const { conversationId } = await beginTurn(deps, as("user", talk.user), own);
      expect(await inbox.work(messageEvent("new", talk, { id: randomUUID(), text: "Hello?" }))).toBeNull();
      await answered(conversationIdOf(talk.channel), "Hello?");
      expect(await findCalled(handles.db, as("user", talk.user), talk.channel)).toBe(conversationId);
    });

    it("from several people at once makes one conversation", async () => {
      const [one, other] = [
        startInbox(startInstance(handles.db, answering())),
        startInbox(startInstance(handles.other, answering())),
      ];
      const talk = newChannel();
      const texts = Array.from({ length: 10 }, (_, i) => `${i}`);
      await Promise.all(
        texts.map((text, i) => (i % 2 ? one : other).tell(messageEvent("new", talk, { id: randomUUID(), text }))),
      );
      await one.settled();
      const said = (await messagesOf(handles.db, talk.channel)).filter(({ role }) => role === "user");
      expect(said.map(({ content }) => content).toSorted()).toEqual(texts);
      expect([...one.logged, ...other.logged]).toEqual([]);
    });

    it("by staff is the customer's, who is a member", async () => {
      const { inbox } = open();
      const talk = newChannel();
      const members = [
        { user: { id: "boss", role: "admin" } },
        { user: { id: ASSISTANT } },
        { user: { id: talk.user } },
      ];
      const welcome = { id: randomUUID(), text: "Welcome!", role: "admin" };
      await inbox.work(messageEvent("new", { ...talk, user: "boss" }, welcome, { members }));
      expect(await row(talk.channel)).toMatchObject({ userId: talk.user });
      expect(await thread(talk.channel)).toEqual(["agent: Welcome!"]);
    });

    it("by the assistant's own user is nothing, and makes nothing", async () => {
      const { inbox } = open();
      const talk = { ...newChannel(), user: ASSISTANT };
      expect(await inbox.work(messageEvent("new", talk, { id: randomUUID(), text: "I said so." }))).toBeNull();
      expect(await row(talk.channel)).toBeUndefined();
    });

    it("is somebody's whose id Stream would not take, too", async () => {
      const { inbox } = open();
      const talk = newChannel();
      const user = streamUserId(`${talk.user} of Łódź`);
      await inbox.work(messageEvent("new", { ...talk, user }, { id: randomUUID(), text: "Cześć" }));
      expect(await row(talk.channel)).toMatchObject({ userId: `${talk.user} of Łódź` });
    });
  });

  describe("by the user", () => {
    it("waits in line behind a running turn, and both are answered", async () => {
      const models = testModels();
      const { inbox } = open(models);
      const talk = newChannel();
      await inbox.work(messageEvent("new", talk, { id: randomUUID(), text: "one" }));
      await inbox.work(messageEvent("new", talk, { id: randomUUID(), text: "two" }));
      expect((await turnsOf(handles.db, talk.channel)).map(({ status }) => status)).toEqual(["in_progress", "queued"]);
      (await models.call(1)).end("first");
      (await models.call(2)).end("second");
      await eventually(async () =>
        expect(await thread(talk.channel)).toEqual(["user: one", "assistant: first", "user: two", "assistant: second"]),
      );
    });

    it.each([
      ["waits for an agent", "queue", [ASK]],
      ["is an agent's", "agent", [ASK, accept(ANN)]],
    ] as const)("is only stored where the session %s", async (_, control, moves) => {
      const { deps, inbox } = open();
      const session = await newSession(handles.db);
      for (const wanted of moves) await move(deps, wanted === ASK ? session.owner : ANN, session, wanted);
      const talk = { channel: session.id, user: session.owner.userId };
      expect(await inbox.work(messageEvent("new", talk, { id: randomUUID(), text: "Are you there?" }))).toBeNull();
      expect(await thread(session.id)).toContain("user: Are you there?");
      expect(await turnsOf(handles.db, session.id)).toEqual([]);
      expect(await session.read()).toMatchObject({ control });
    });

    it("is refused where the session has ended, and that is noted", async () => {
      const { deps, inbox } = open();
      const session = await newSession(handles.db);
      await move(deps, session.owner, session, END);
      const talk = { channel: session.id, user: session.owner.userId };
      const text = "One more thing that no log may hold";
      expect(await inbox.work(messageEvent("new", talk, { id: randomUUID(), text }))).toBe("session_ended");
      expect(await thread(session.id)).toEqual(["system: The session has ended."]);
      expect(inbox.logged).toMatchObject([{ fields: { reason: "session_ended" } }]);
      expect(JSON.stringify(inbox.logged)).not.toContain("One more");
    });

    it.each([
      ["turns", { turns: 0, tokensADay: null }],
      ["tokens", { turns: null, tokensADay: 0 }],
    ])("is kept without an answer where the user may take no more %s", async (_, allowance) => {
      const deps = startInstance(handles.db, answering(), allowance);
      const inbox = startInbox(deps);
      const talk = newChannel();
      const id = randomUUID();
      expect(await inbox.work(messageEvent("new", talk, { id, text: "Over the limit" }))).toBeNull();
      expect(await thread(talk.channel)).toEqual(["user: Over the limit"]);
      expect(await streamIdsOf(handles.db, [id])).toEqual(new Map([[id, id]]));
      expect(await turnsOf(handles.db, talk.channel)).toEqual([]);
    });

    it("is kept without an answer where the line is full", async () => {
      const { deps, inbox } = open(testModels());
      const { owner, id } = await newConversation(handles.db);
      for (let i = 0; i <= 16; i++)
        await beginTurn(deps, owner, { conversationId: id, content: `${i}`, model: undefined });
      Object.assign(deps, { clock: Date.now }); // room is waited for, for a time
      const talk = { channel: id, user: owner.userId };
      expect(await inbox.work(messageEvent("new", talk, { id: randomUUID(), text: "the last" }))).toBeNull();
      expect(await turnsOf(handles.db, id)).toHaveLength(17);
      expect((await thread(id)).at(-1)).toBe("user: the last");
    });

    it("is kept without an answer where it was said long before it is heard of, by an edit", async () => {
      const { inbox } = open();
      const talk = newChannel();
      const [old, new_] = [randomUUID(), randomUUID()];
      await inbox.work(messageEvent("updated", talk, { id: old, text: "from last year", updated_at: at(301) }));
      await inbox.work(messageEvent("updated", talk, { id: new_, text: "just now", updated_at: at(20) }));
      await answered(talk.channel, "from last year\n\njust now");
      expect(await thread(talk.channel)).toMatchObject(["user: from last year", "user: just now", /assistant/]);
    });
  });

  describe("by others", () => {
    it.each([
      ["the session's agent", "ann", "user", "agent"],
      ["an agent by its role at Stream", "carl", "agent", "agent"],
      ["a moderator", "dora", "moderator", "agent"],
      ["anybody else", "eve", "user", "user"],
    ])("is kept as theirs, and not answered: %s", async (_, user, role, kept) => {
      const { deps, inbox } = open();
      const session = await newSession(handles.db);
      if (user === "ann") {
        await move(deps, session.owner, session, ASK);
        await move(deps, ANN, session, accept(ANN));
      }
      const talk = { channel: session.id, user };
      const [id, url] = [randomUUID(), "https://cdn.example.com/a.png"];
      const attachments = [{ type: "image", image_url: url }];
      expect(await inbox.work(messageEvent("new", talk, { id, text: "Good day", role, attachments }))).toBeNull();
      expect(await findPost(handles.db, ADMIN, id)).toMatchObject({
        ...{ role: kept, senderId: user, content: "Good day" },
        extensions: [{ type: "attachment", authorId: user, data: { url } }],
      });
      expect(await turnsOf(handles.db, session.id)).toEqual([]);
      await expectTrueCounts(handles.db, session.id);
    });
  });

  it("brings its attachments along, and they are its text where it has none", async () => {
    const { inbox } = open();
    const talk = newChannel();
    const id = randomUUID();
    const attachments = [
      {
        type: "file",
        asset_url: "https://cdn.example.com/q3.pdf",
        title: "q3.pdf",
        mime_type: "application/pdf",
        file_size: 7,
      },
      { type: "image", image_url: "javascript:alert(1)", title: "no.png" },
      { type: "video", og_scrape_url: "https://example.com", image_url: "https://example.com/preview.png" },
    ];
    await inbox.work(messageEvent("new", talk, { id, text: " ", attachments }));
    await answered(talk.channel, "[q3.pdf]");
    const data = { url: "https://cdn.example.com/q3.pdf", name: "q3.pdf", mime_type: "application/pdf", size: 7 };
    const { extensions, content } = await findPost(handles.db, as("user", talk.user), id);
    expect({ content, extensions }).toMatchObject({
      content: "[q3.pdf]",
      extensions: [{ type: "attachment", authorId: talk.user, data }],
    });
    await inbox.work(messageEvent("updated", talk, { id, text: " ", attachments, updated_at: at(9) }));
    expect((await findPost(handles.db, as("user", talk.user), id)).editedAt).toBeNull();
  });

  it.each([
    ["empty", { text: "" }],
    ["too_long", { text: "a".repeat(131_073) }],
  ])("is refused for good where it is %s, and that is noted", async (reason, message) => {
    const deps = startInstance(handles.db);
    const inbox = startInbox(deps, {});
    const talk = newChannel();
    expect(await inbox.work(messageEvent("new", talk, { id: randomUUID(), ...message }))).toBe(reason);
    expect(inbox.logged).toMatchObject([{ fields: { reason } }]);
    expect(await row(talk.channel)).toBeUndefined();
  });

  it.each(["system", "error", "ephemeral"])("is nothing where it is Stream's own: %s", async (type) => {
    const { inbox } = open();
    const talk = newChannel();
    expect(await inbox.work(messageEvent("new", talk, { id: randomUUID(), text: "…", type }))).toBeNull();
    expect(await row(talk.channel)).toBeUndefined();
  });

  it("makes no conversation anew that was deleted here", async () => {
    const { deps, inbox } = open();
    const talk = newChannel();
    await inbox.work(messageEvent("new", talk, { id: randomUUID(), text: "Hello?" }));
    await answered(talk.channel, "Hello?");
    await deleteConversation(handles.db, as("user", talk.user), { id: talk.channel, now: NOW });
    const late = messageEvent("new", talk, { id: randomUUID(), text: "Still there?" });
    expect(await inbox.work(late)).toBe("conversation_deleted");
    expect(await row(talk.channel)).toBeUndefined();
    expect(await turnsOf(handles.db, talk.channel)).toHaveLength(1);
    expect(deps.logged).toEqual([]);
  });

  it("makes none either where it is deleted at that very moment", async () => {
    const { db } = handles;
    const talk = newChannel();
    const racing = before(db, talk.channel, async () => {
      await db.insert(db.tables.tombstones).values({ id: talk.channel, userId: talk.user, rev: 1, deletedAt: NOW });
    });
    const inbox = startInbox(startInstance(racing, answering()));
    const event = messageEvent("new", talk, { id: randomUUID(), text: "Hello?" });
    expect(await inbox.work(event)).toBe("conversation_deleted");
    expect(await row(talk.channel)).toBeUndefined();
  });

  it("under the id of a message in another conversation touches neither", async () => {
    const { inbox } = open();
    const [mine, theirs] = [newChannel(), newChannel()];
    const id = randomUUID();
    await inbox.work(messageEvent("new", theirs, { id, text: "Theirs" }));
    await inbox.work(messageEvent("new", mine, { id: randomUUID(), text: "Mine" }));
    await Promise.all([answered(theirs.channel, "Theirs"), answered(mine.channel, "Mine")]);
    for (const type of ["new", "updated", "deleted"]) {
      const taken = messageEvent(type, mine, { id, text: "Taken", updated_at: at(5) });
      expect(await inbox.work(taken)).toBe("id_taken");
    }
    expect(await thread(mine.channel)).toEqual(["user: Mine", `assistant: ${answerTo("Mine")}`]);
    expect((await messagesOf(handles.db, theirs.channel))[0]).toMatchObject({ content: "Theirs", deletedAt: null });
  });

  it("that both databases could not hold is made so that they can", async () => {
    const { inbox } = open();
    const talk = newChannel();
    expect(await inbox.work(messageEvent("new", talk, { id: randomUUID(), text: "a\0b\ud800c" }))).toBeNull();
    await answered(talk.channel, "ab\ufffdc");
    await change(handles.db, talk.channel, { title: "ok" });
  });
});
