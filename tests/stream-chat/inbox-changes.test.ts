import { randomUUID } from "node:crypto";
import { eq } from "drizzle-orm";
import { describe, expect, it } from "vitest";
import { regenerate } from "../../src/core/answers.ts";
import { addExtension } from "../../src/core/extensions.ts";
import { deletePost, editPost } from "../../src/core/post-changes.ts";
import { findPost, type Post } from "../../src/core/thread.ts";
import { roomFor } from "../../src/db/extension-room.ts";
import { conversationIdOf, messageIdOf } from "../../src/stream-chat/ids.ts";
import { hashOf } from "../../src/stream-chat/parts.ts";
import { messagesOf, startInstance, turnsOf } from "../support/core-instance.ts";
import { answering, eventually, testModels } from "../support/core-models.ts";
import { ADMIN, ANN, END, move, newSession, say } from "../support/core-sessions.ts";
import { databases } from "../support/databases.ts";
import { useDatabase } from "../support/db-handles.ts";
import { ASSISTANT, at, before, messageEvent, newChannel, reactionEvent, startInbox } from "../support/stream-inbox.ts";

const historyOf = ({ extensions }: Post) =>
  extensions.filter(({ type }) => type === "edit_history").map(({ data }) => data["content"]);

describe.each(databases)("what is changed at Stream, on $database", ({ fresh }) => {
  const handles = useDatabase(fresh);
  /** A session with a message that was said here; the mirror has written it to Stream. */
  async function given(models = answering()) {
    const deps = startInstance(handles.db, models);
    const inbox = startInbox(deps);
    const session = await newSession(handles.db);
    const { id } = await say(deps, session.owner, session, "first");
    const talk = { channel: session.id, user: session.owner.userId };
    const read = () => findPost(handles.db, ADMIN, id);
    const parley = (text: string, rev = 1) => ({ parley: { rev, hash: hashOf(text) } });
    return { deps, inbox, session, id, talk, read, parley };
  }

  describe("a message's text", () => {
    it("is edited by its author, and what it said before goes to its history", async () => {
      const { inbox, talk, id, read, session, parley } = await given();
      const { rev } = await session.read();
      const edit = messageEvent("updated", talk, { id, text: "second", updated_at: at(1), ...parley("first") });
      expect(await inbox.work(edit)).toBeNull();
      const post = await read();
      expect([post.content, historyOf(post), post.extensions[0]?.authorId]).toEqual(["second", ["first"], talk.user]);
      expect((await session.read()).rev).toBe(rev + 1);
    });

    it("is edited once, however often and in whatever order it is told", async () => {
      const { inbox, talk, id, read } = await given();
      const edit = (text: string, seconds: number) =>
        messageEvent("updated", talk, { id, text, updated_at: at(seconds) });
      const [two, three, four] = [edit("two", 1), edit("three", 2), edit("four", 3)];
      for (const event of [three, three, two, four, two, three, four]) expect(await inbox.work(event)).toBeNull();
      const post = await read();
      expect([post.content, historyOf(post)]).toEqual(["four", ["first", "three"]]);
    });

    it("that is told before the message, or twice at once by two instances, stands", async () => {
      const { inbox } = await given();
      const other = startInbox(startInstance(handles.other, answering()));
      const talk = newChannel();
      const id = randomUUID();
      const [old, edited] = [
        { id, text: "old" },
        { id, text: "edited", updated_at: at(2) },
      ];
      expect(await inbox.work(messageEvent("updated", talk, edited))).toBeNull();
      const event = messageEvent("new", talk, old);
      await Promise.all([inbox.tell(event), other.tell(event), inbox.tell(event)]);
      await inbox.settled();
      const post = await findPost(handles.db, ADMIN, id);
      expect([post.content, historyOf(post)]).toEqual(["edited", []]);
      expect(await turnsOf(handles.db, talk.channel)).toHaveLength(1);
    });

    it("gives way to a newer state that another instance takes over at that very moment", async () => {
      const { inbox, talk, id, read } = await given();
      const racing = before(handles.db, talk.channel, async () => {
        await inbox.tell(messageEvent("updated", talk, { id, text: "newer", updated_at: at(2) }));
        await eventually(async () => expect((await read()).content).toBe("newer"));
      });
      const behind = startInbox(startInstance(racing, answering()), { lookMs: 3_600_000 });
      await behind.tell(messageEvent("updated", talk, { id, text: "older", updated_at: at(1) }));
      await inbox.settled();
      const post = await read();
      expect([post.content, historyOf(post)]).toEqual(["newer", ["first"]]);
    });

    it("stays where an older one of ours comes back after a later edit here", async () => {
      const { deps, inbox, talk, id, read, session, parley } = await given();
      await editPost(deps, session.owner, { id, content: "second" });
      const before = await read();
      for (const [type, text] of [
        ["new", "first"],
        ["updated", "first"],
        ["updated", "second"],
      ] as const) {
        const echo = messageEvent(type, talk, { id, text, updated_at: at(60), ...parley(text) });
        expect(await inbox.work(echo)).toBeNull();
      }
      expect(await read()).toEqual(before);
    });

    it("stays where the mirror begins with less of it, as it does with what Stream would run", async () => {
      const { inbox, talk, id, read, parley } = await given();
      const attachments = [{ image_url: "https://example.com/a.png", title: "a.png" }];
      expect(await inbox.work(messageEvent("new", talk, { id, text: "", attachments, ...parley("first") }))).toBeNull();
      expect(await read()).toMatchObject({ content: "first", editedAt: null });
    });

    it("is nobody else's to edit, and an answer's not at all", async () => {
      const { deps, inbox, talk, id, read, session } = await given();
      await inbox.work(messageEvent("new", talk, { id: randomUUID(), text: "question" }));
      await eventually(async () => expect((await session.read()).openTurns).toBe(0));
      const answer = (await messagesOf(handles.db, session.id)).find(({ role }) => role === "assistant");
      const foreign = messageEvent("updated", { ...talk, user: "mallory" }, { id, text: "forged", updated_at: at(9) });
      expect(await inbox.work(foreign)).toBe("not_its_author");
      for (const user of [ASSISTANT, talk.user]) {
        const edit = { id: answer?.id, text: "I am wise", updated_at: at(9) };
        expect(await inbox.work(messageEvent("updated", { ...talk, user }, edit))).toBeNull();
      }
      expect((await read()).content).toBe("first");
      expect((await findPost(handles.db, ADMIN, String(answer?.id))).content).toBe("Answer to first\n\nquestion");
      expect(deps.logged).toEqual([]);
    });

    it("is refused in a session that has ended", async () => {
      const { deps, inbox, talk, id, read, session } = await given();
      await move(deps, session.owner, session, END);
      const events = [
        messageEvent("updated", talk, { id, text: "second", updated_at: at(1) }),
        messageEvent("deleted", talk, { id, type: "deleted", deleted_at: at(1) }),
        reactionEvent("new", talk, { message: id }),
      ];
      for (const event of events) expect(await inbox.work(event)).toBe("session_ended");
      expect(await read()).toMatchObject({ content: "first", deletedAt: null, extensions: [] });
    });
  });

  it("an edit that finds no room in the history is shown again as it was", async () => {
    const { inbox, session, talk, id, read } = await given();
    const { conversations: c, messageExtensions: e } = handles.db.tables;
    const hung = { messageId: id, type: "edit_history", authorId: session.owner.self, data: {}, createdAt: 1 };
    const full = Array.from({ length: roomFor("edit_history").mostOwn }, () => ({ id: randomUUID(), ...hung }));
    await handles.db.insert(e).values(full);
    await handles.db.update(c).set({ mirrored: 9 }).where(eq(c.id, session.id));
    const edit = messageEvent("updated", talk, { id, text: "second", updated_at: at(1) });
    expect(await inbox.work(edit)).toBe("validation_failed");
    expect((await session.read()).mirrored).toBe((await read()).rev - 1);
  });

  describe("a part of a long message of ours", () => {
    it("is known by its id and its text, and is not taken over", async () => {
      const { deps, inbox, talk, id, session, parley } = await given();
      await editPost(deps, session.owner, { id, content: "a long one, and its end" });
      const { rev } = await session.read();
      const part = { id: `${id}-2`, text: " and its end", ...parley(" and its end") };
      expect(await inbox.work(messageEvent("new", talk, part))).toBeNull();
      await editPost(deps, session.owner, { id, content: "short" });
      expect(await inbox.work(messageEvent("updated", talk, part))).toBeNull(); // what it said before is ours, too
      expect(await inbox.work(messageEvent("deleted", talk, { ...part, type: "deleted", text: "" }))).toBeNull();
      expect(await inbox.work(reactionEvent("new", talk, { message: `${id}-2`, on: part }))).toBeNull();
      expect((await session.read()).rev).toBe(rev + 1);
      expect(await messagesOf(handles.db, session.id)).toHaveLength(1);
    });

    it("is known, too, of a message whose id is Stream's own; and one that only looks like a part is not one", async () => {
      const { deps, inbox, session, talk, parley } = await given();
      await inbox.work(messageEvent("new", { ...talk, user: "eve" }, { id: "own", text: "short" }));
      await editPost(deps, ADMIN, { id: messageIdOf("own"), content: "so long, and its end" });
      const part = { id: `${messageIdOf("own")}-2`, text: " and its end", ...parley(" and its end") };
      expect(await inbox.work(messageEvent("new", { ...talk, user: "eve" }, part))).toBeNull();
      await inbox.work(messageEvent("new", { ...talk, user: "eve" }, { id: "own-3", text: "its end" }));
      await inbox.work(reactionEvent("new", talk, { message: "own-3" }));
      const said = await messagesOf(handles.db, session.id);
      expect(said.map(({ id }) => id).slice(1)).toEqual([messageIdOf("own"), messageIdOf("own-3")]);
      expect((await findPost(handles.db, ADMIN, messageIdOf("own-3"))).extensions).toHaveLength(1);
    });

    it("stands where somebody edits the first of them: which piece that replaces is not told", async () => {
      const { inbox, talk, id, read } = await given();
      const parley = { rev: 1, hash: hashOf("fi"), part: 1, parts: 2 };
      const edit = messageEvent("updated", talk, { id, text: "se", updated_at: at(1), parley });
      expect(await inbox.work(edit)).toBe("one_of_parts");
      expect((await read()).content).toBe("first");
    });

    it("cannot be forged so that a message is lost, nor by what a message says of itself", async () => {
      const { inbox, talk, id, session, parley } = await given();
      const [part, whole] = [`${id}-2`, randomUUID()];
      await inbox.work(messageEvent("new", talk, { id: part, text: "Help me", ...parley("Help me") }));
      await inbox.work(messageEvent("new", talk, { id: whole, text: "Please", ...parley("Please") }));
      await eventually(async () => expect((await session.read()).openTurns).toBe(0));
      const said = (await messagesOf(handles.db, session.id)).filter(({ role }) => role === "user");
      expect(said.map((one) => [one.id, one.content])).toEqual([
        [id, "first"],
        [messageIdOf(part), "Help me"],
        [whole, "Please"],
      ]);
      expect(await turnsOf(handles.db, session.id)).toHaveLength(2);
    });
  });

  describe("a message that is deleted", () => {
    it.each([
      ["softly", { type: "deleted", text: "", deleted_at: at(3) }, {}],
      ["hard", {}, { hard_delete: true }],
    ])("%s is deleted here, once", async (_, fields, more) => {
      const { inbox, talk, id, read, session } = await given();
      const event = messageEvent("deleted", talk, { id, ...fields }, more);
      expect(await inbox.work(event)).toBeNull();
      const { rev } = await session.read();
      expect(await inbox.work(event)).toBeNull();
      expect(await inbox.work(messageEvent("updated", talk, { id, text: "back", updated_at: at(9) }))).toBeNull();
      expect(await read()).toMatchObject({ content: "first", deletedAt: expect.any(Number) });
      expect((await session.read()).rev).toBe(rev);
    });

    it("before it is known is waited for; one that never comes is not, for ever", async () => {
      const { inbox, talk, session } = await given();
      const id = randomUUID();
      await inbox.tell(messageEvent("deleted", talk, { id, type: "deleted" }));
      await eventually(async () =>
        expect(
          (await handles.db.select().from(handles.db.tables.streamEvents)).some(
            (one) => one.attempts > 0 && one.doneAt === null,
          ),
        ).toBe(true),
      );
      await inbox.tell(messageEvent("new", talk, { id, text: "too late" }));
      await inbox.settled();
      const found = (await messagesOf(handles.db, session.id)).find((one) => one.id === id);
      expect(found).toMatchObject({ content: "too late", deletedAt: expect.any(Number) });
      const never = messageEvent("deleted", talk, { id: randomUUID(), type: "deleted" });
      expect(await inbox.work(never)).toBe("unknown_message");
    });

    it("while it is answered is deleted once that is over", async () => {
      const models = testModels();
      const { inbox, talk } = await given(models);
      const id = randomUUID();
      await inbox.work(messageEvent("new", talk, { id, text: "question" }));
      const call = await models.call(1);
      await inbox.tell(messageEvent("deleted", talk, { id, type: "deleted" }));
      const tried = async () =>
        (await handles.db.select().from(handles.db.tables.streamEvents)).map(({ error }) => error);
      await eventually(async () => expect(await tried()).toContain("conversation_busy"));
      call.end("answer");
      await inbox.settled();
      expect((await findPost(handles.db, ADMIN, id)).deletedAt).not.toBeNull();
    });

    it("is not an answer that only gave way to another", async () => {
      const { deps, inbox, talk, session } = await given();
      await inbox.work(messageEvent("new", talk, { id: randomUUID(), text: "question" }));
      const idle = () => eventually(async () => expect((await session.read()).openTurns).toBe(0));
      await idle();
      const answer = (await messagesOf(handles.db, session.id)).find(({ role }) => role === "assistant");
      await regenerate(deps, session.owner, {
        messageId: String(answer?.id),
        model: undefined,
        options: null,
        key: null,
      });
      await idle();
      const event = messageEvent("deleted", { ...talk, user: ASSISTANT }, { id: answer?.id, type: "deleted" });
      expect(await inbox.work(event)).toBeNull();
      const kept = await findPost(handles.db, ADMIN, String(answer?.id));
      expect(kept).toMatchObject({ deletedAt: null, supersededAt: expect.any(Number) });
    });
  });

  describe("a reaction", () => {
    const reactions = ({ extensions }: Post) =>
      extensions.filter(({ type }) => type === "reaction").map(({ authorId, data }) => `${authorId} ${data["emoji"]}`);

    it("comes and goes with its author, and repeating it changes nothing", async () => {
      const { inbox, talk, id, read, session } = await given();
      const { rev } = await session.read();
      const love = (type: string, by: string, when = at(1)) => reactionEvent(type, talk, { message: id, by, when });
      for (const by of [talk.user, "ann", talk.user, ASSISTANT]) expect(await inbox.work(love("new", by))).toBeNull();
      expect(reactions(await read())).toEqual([`${talk.user} love`, "ann love"]);
      expect((await session.read()).rev).toBe(rev + 2);
      for (const _ of [1, 2]) expect(await inbox.work(love("deleted", talk.user, at(2)))).toBeNull();
      expect(reactions(await read())).toEqual(["ann love"]);
      expect((await session.read()).rev).toBe(rev + 3);
    });

    it("that takes the place of others leaves none of its author's but those that Stream still has", async () => {
      const { inbox, talk, id, read } = await given();
      const latest = (...types: string[]) => types.map((type) => ({ type, user_id: talk.user }));
      for (const emoji of ["wow", "sad"]) await inbox.work(reactionEvent("new", talk, { message: id, emoji }));
      const again = { message: id, emoji: "wow", latest_reactions: latest("wow", "sad") };
      await inbox.work(reactionEvent("updated", talk, again));
      expect(reactions(await read())).toHaveLength(2);
      await inbox.work(
        reactionEvent("updated", talk, { message: id, emoji: "haha", latest_reactions: latest("haha") }),
      );
      expect(reactions(await read())).toEqual([`${talk.user} haha`]);
    });

    it("of ours that comes back late neither brings nor takes what is otherwise here since", async () => {
      const { deps, inbox, talk, id, read, session } = await given();
      const parley = true;
      expect(await inbox.work(reactionEvent("new", talk, { message: id, emoji: "gone", parley }))).toBeNull();
      expect(reactions(await read())).toEqual([]);
      const extension = { type: "reaction", data: { emoji: "anew" } };
      const hung = { messageId: id, extension, key: null, respond: (one: object) => ({ ...one }) };
      await addExtension(deps, session.owner, hung);
      const latest_reactions = [{ type: "wow", user_id: talk.user }];
      const told = { message: id, emoji: "wow", latest_reactions, parley };
      expect(await inbox.work(reactionEvent("updated", talk, told))).toBeNull();
      expect(await inbox.work(reactionEvent("deleted", talk, { message: id, emoji: "anew", when: at(-5) }))).toBeNull();
      expect(reactions(await read())).toEqual([`${talk.user} anew`]);
    });

    it("to a message that is not known is waited for, and no longer than that", async () => {
      const { deps, inbox, talk } = await given();
      expect(await inbox.work(reactionEvent("new", talk, { message: randomUUID() }))).toBe("unknown_message");
      const { id } = await say(deps, ANN, { id: talk.channel }, "hm");
      await deletePost(deps, ADMIN, id);
      expect(await inbox.work(reactionEvent("new", talk, { message: id }))).toBeNull();
    });
  });

  it("in a channel of any name is found by it", async () => {
    const { inbox } = await given();
    const talk = newChannel(`support_${randomUUID().slice(0, 8)}`);
    await inbox.work(messageEvent("new", talk, { id: "abc", text: "first" }));
    await inbox.work(messageEvent("updated", talk, { id: "abc", text: "second", updated_at: at(1) }));
    await inbox.work(messageEvent("deleted", talk, { id: "def", type: "deleted" }));
    const [message] = await messagesOf(handles.db, conversationIdOf(talk.channel));
    expect(message).toMatchObject({ id: messageIdOf("abc"), content: "second" });
  });
});
