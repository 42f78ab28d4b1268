import { describe, expect, it } from "vitest";
import { listAlternatives, regenerate } from "../../src/core/answers.ts";
import { addExtension, removeExtension } from "../../src/core/extensions.ts";
import { outcomeOf } from "../../src/core/follow.ts";
import { newId } from "../../src/core/id.ts";
import { deletePost, editPost } from "../../src/core/post-changes.ts";
import type { NewExtension } from "../../src/core/posting.ts";
import { getPost, type Post } from "../../src/core/thread.ts";
import { beginTurn } from "../../src/core/turns.ts";
import { roomFor } from "../../src/db/extension-room.ts";
import type { Extension } from "../../src/db/tables.ts";
import { expectTrueCounts, type Instance, messagesOf, send, startInstance } from "../support/core-instance.ts";
import { answering, eventually, testModels } from "../support/core-models.ts";
import { listMessages, listPosts } from "../support/core-pages.ts";
import { refTo } from "../support/core-readers.ts";
import { ADMIN, ANN, BEN, END, type Live, move, newSession, say } from "../support/core-sessions.ts";
import { databases } from "../support/databases.ts";
import { useDatabase } from "../support/db-handles.ts";

const { mostOwn: MOST, mostOfAll } = roomFor("note");
const code = (code: string) => expect.objectContaining({ code });
const contentOf = ({ data }: Extension) => data["content"];
const historyOf = ({ extensions }: Post) => extensions.filter(({ type }) => type === "edit_history").map(contentOf);

describe.each(databases)("what people say on $database", ({ fresh }) => {
  const handles = useDatabase(fresh);
  const start = () => [startInstance(handles.db), startInstance(handles.other)] as const;
  const edit = (deps: Instance, live: Live, id: string, content: string) => editPost(deps, live.owner, { id, content });
  const oneOn = (messageId: string, extension: NewExtension) => ({
    messageId,
    extension,
    respond: ({ id }: Extension) => ({ id }),
  });
  const hang = (deps: Instance, live: Live, messageId: string, extension: NewExtension, key: string | null = null) =>
    addExtension(deps, live.owner, {
      ...oneOn(messageId, extension),
      key: key === null ? null : { key, requestHash: JSON.stringify(extension) },
    });
  const react = (emoji: string): NewExtension => ({ type: "reaction", data: { emoji } });
  const note = (n: number): NewExtension => ({ type: "note", data: { n } });

  describe("is edited", () => {
    it("with all that it said before, in order, whatever the clocks of two instances say", async () => {
      const [deps, other] = start();
      other.time.now -= 3_600_000;
      const session = await newSession(handles.db);
      const { id } = await say(deps, session.owner, session, "0");
      for (let i = 1; i <= 6; i++) await edit(i % 2 ? deps : other, session, id, String(i));
      const post = await getPost(handles.db, session.owner, id);
      expect([...historyOf(post), post.content]).toEqual(["0", "1", "2", "3", "4", "5", "6"]);
      expect(post.editedAt).toBeGreaterThan(post.createdAt);
    });

    it("by many at once, and none of their texts is lost", async () => {
      const instances = start();
      const session = await newSession(handles.db);
      const { id } = await say(instances[0], session.owner, session, "0");
      await Promise.all(
        Array.from({ length: 8 }, (_, i) => edit(instances[i % 2] ?? instances[0], session, id, `${i + 1}`)),
      );
      const post = await getPost(handles.db, session.owner, id);
      expect([...historyOf(post), post.content].toSorted()).toEqual(["0", "1", "2", "3", "4", "5", "6", "7", "8"]);
      expect(historyOf(post)[0]).toBe("0");
      expect((await session.read()).rev).toBe(9);
    });

    it("and lists show the new text, of the newest message only", async () => {
      const [deps] = start();
      const session = await newSession(handles.db);
      const first = await say(deps, session.owner, session, "First");
      const second = await say(deps, session.owner, session, "Second");
      await edit(deps, session, first.id, "1st");
      expect(await session.read()).toMatchObject({ lastMessage: "Second", messageCount: 2 });
      await edit(deps, session, second.id, "2nd");
      expect(await session.read()).toMatchObject({ lastMessage: "2nd", messageCount: 2, lastSeq: second.seq });
    });

    it("and counts say what lists show of it, also of an answer that failed or said nothing", async () => {
      const deps = startInstance(handles.db);
      const session = await newSession(handles.db);
      const [failed, silent] = [await send(deps, session, "One"), await send(deps, session, "Two")];
      (await deps.models.call(1)).fail("provider_failed");
      (await deps.models.call(2)).end("");
      await silent.ended;
      for (const id of [failed.answerId, silent.answerId, failed.questionId]) {
        await editPost(deps, ADMIN, { id, content: "Something" });
        await expectTrueCounts(handles.db, session.id);
      }
      for (const id of [failed.answerId, silent.answerId]) {
        await deletePost(deps, ADMIN, id);
        await expectTrueCounts(handles.db, session.id);
      }
      expect(await session.read()).toMatchObject({ messageCount: 2, lastMessage: "Two" });
    });

    it("and models are shown the new text", async () => {
      const deps = startInstance(handles.db);
      const session = await newSession(handles.db);
      const turn = await send(deps, session, "What is my dog called?");
      (await deps.models.call(1)).end("Rex");
      await turn.ended;
      await edit(deps, session, turn.questionId, "What is my cat called?");
      await editPost(deps, ADMIN, { id: turn.answerId, content: "Tom" });
      const next = await send(deps, session, "Really?");
      const call = await deps.models.call(2);
      expect(call.messages.map(({ content }) => content)).toEqual(["What is my cat called?", "Tom", "Really?"]);
      call.end("Yes");
      await next.ended;
    });

    it("by its sender or an admin alone", async () => {
      const [deps] = start();
      const session = await newSession(handles.db);
      const theirs = await say(deps, session.owner, session, "Hello");
      const anns = await say(deps, ANN, session, "Hi");
      for (const [who, { id }] of [
        [ANN, theirs],
        [BEN, anns],
        [session.owner, anns],
      ] as const) {
        await expect(editPost(deps, who, { id, content: "x" })).rejects.toEqual(code("forbidden"));
        await expect(deletePost(deps, who, id)).rejects.toEqual(code("forbidden"));
      }
      expect((await editPost(deps, ANN, { id: anns.id, content: "Hi!" })).content).toBe("Hi!");
      expect((await editPost(deps, ADMIN, { id: theirs.id, content: "Hello!" })).content).toBe("Hello!");
    });

    it("until its history is full", async () => {
      const [deps] = start();
      const session = await newSession(handles.db);
      const { id } = await say(deps, session.owner, session, "0");
      for (let i = 1; i <= MOST; i++) await edit(deps, session, id, String(i));
      await expect(edit(deps, session, id, "more")).rejects.toEqual(code("validation_failed"));
      const post = await getPost(handles.db, session.owner, id);
      expect(historyOf(post)).toEqual(Array.from({ length: MOST }, (_, i) => String(i)));
      expect(post.content).toBe(String(MOST));
    });
  });

  describe("is deleted", () => {
    it("once, of however many who try", async () => {
      const instances = start();
      const session = await newSession(handles.db);
      const { id } = await say(instances[0], session.owner, session, "Oops");
      const tries = await Promise.allSettled(
        [0, 1, 0, 1].map((at) => deletePost(instances[at] ?? instances[0], ADMIN, id)),
      );
      expect(tries.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
      for (const one of tries) if (one.status === "rejected") expect(one.reason).toEqual(code("not_found"));
    });

    it("and is left out of lists, counts, the last message and what models are shown", async () => {
      const deps = startInstance(handles.db);
      const session = await newSession(handles.db);
      const { owner, id: conversationId } = session;
      await say(deps, owner, session, "Keep this.");
      const gone = await say(deps, owner, session, "Forget this.");
      await deletePost(deps, owner, gone.id);
      expect(await session.read()).toMatchObject({ lastMessage: "Keep this.", messageCount: 1 });
      const listed = await listMessages(handles.db, owner, { conversationId, limit: 10 });
      expect(listed.rows.map(({ content }) => content)).toEqual(["Keep this."]);
      for (const who of [owner, ADMIN]) {
        const posts = await listPosts(handles.db, who, { conversationId, limit: 10 });
        expect(posts.map(({ content }) => content)).toEqual(["Keep this."]);
      }
      const turn = await send(deps, session, "What now?");
      const call = await deps.models.call(1);
      expect(call.messages.map(({ content }) => content).join()).not.toContain("Forget");
      call.end("This.");
      await turn.ended;
      await expectTrueCounts(handles.db, conversationId);
    });

    it("also the only message there is", async () => {
      const [deps] = start();
      const session = await newSession(handles.db);
      const { id } = await say(deps, session.owner, session, "Only");
      await deletePost(deps, session.owner, id);
      expect(await session.read()).toMatchObject({ lastMessage: null, messageCount: 0, lastSeq: 0 });
    });

    it("not while it is being made, nor while it is answered, running or in line", async () => {
      const deps = startInstance(handles.db);
      const session = await newSession(handles.db);
      const { owner } = session;
      const [running, queued] = [await send(deps, session, "One"), await send(deps, session, "Two")];
      const busy = (turn: { turnId: string }) =>
        expect.objectContaining({ code: "conversation_busy", details: { turnId: turn.turnId } });
      await expect(deletePost(deps, ADMIN, running.answerId)).rejects.toEqual(busy(running));
      await expect(editPost(deps, ADMIN, { id: running.answerId, content: "x" })).rejects.toEqual(busy(running));
      await expect(deletePost(deps, owner, running.questionId)).rejects.toEqual(busy(running));
      await expect(deletePost(deps, owner, queued.questionId)).rejects.toEqual(busy(queued));
      (await deps.models.call(1)).end("1");
      (await deps.models.call(2)).end("2");
      await queued.ended;
      await deletePost(deps, owner, queued.questionId);
      await deletePost(deps, ADMIN, running.answerId);
      expect((await messagesOf(handles.db, session.id)).map(({ deletedAt }) => deletedAt !== null)).toEqual([
        false,
        true,
        true,
        false,
      ]);
    });

    it("and no model answers it again: not by regenerating, not by its key", async () => {
      const deps = startInstance(handles.db, testModels());
      const session = await newSession(handles.db);
      const key = { key: "once", requestHash: "same" };
      const turn = await send(deps, session, "A secret", { key });
      const call = await deps.models.call(1);
      call.say("I");
      call.fail("provider_failed");
      await turn.ended;
      await deletePost(deps, session.owner, turn.questionId);
      const again = regenerate(deps, session.owner, { messageId: turn.answerId, model: undefined, key: null });
      await expect(again).rejects.toEqual(code("not_latest"));
      const retried = await beginTurn(deps, session.owner, {
        conversationId: session.id,
        content: "A secret",
        model: undefined,
        key,
      });
      expect(retried.turnId).toBe(turn.turnId);
      expect(await outcomeOf(deps, retried)).toMatchObject({ code: "provider_failed" });
      expect(deps.models.calls).toHaveLength(1);
    });

    it("and an answer that is, is told by none of its turn's ways, nor as an alternative", async () => {
      const deps = startInstance(handles.db, answering());
      const session = await newSession(handles.db);
      const { owner } = session;
      const turn = await send(deps, session, "Why?");
      await turn.ended;
      const again = await regenerate(deps, owner, { messageId: turn.answerId, model: undefined, key: null });
      await eventually(() => expect(deps.live.turns.size).toBe(0));
      await deletePost(deps, ADMIN, turn.answerId);
      expect(await outcomeOf(deps, refTo(turn))).toMatchObject({ content: "" });
      const others = await Array.fromAsync(await listAlternatives(handles.db, owner, again.answerId));
      expect(others.flat()).toEqual([]);
    });
  });

  describe("carries what hangs on it:", () => {
    it("of one author one reaction with an emoji, of however many at once", async () => {
      const instances = start();
      const session = await newSession(handles.db);
      const { id } = await say(instances[0], session.owner, session, "Nice");
      const hung = await Promise.all(
        [0, 1, 0, 1, 0, 1].map((at) => hang(instances[at] ?? instances[0], session, id, react("👍"))),
      );
      expect(new Set(hung.map((one) => one.id)).size).toBe(1);
      await hang(instances[0], session, id, react("👎"));
      await addExtension(instances[1], ANN, { ...oneOn(id, react("👍")), key: null });
      const { extensions } = await getPost(handles.db, session.owner, id);
      const hanging = extensions.map(({ authorId, data }) => `${authorId} ${data["emoji"]}`); // of one millisecond, in no order
      expect(hanging.sort()).toEqual([`${session.owner.self} 👍`, `${session.owner.self} 👎`, "ann 👍"].sort());
    });

    it("as many as it holds and no more, also at once", async () => {
      const instances = start();
      const session = await newSession(handles.db);
      const extensions = Array.from({ length: MOST - 4 }, (_, n) => note(n));
      const { id } = await say(instances[0], session.owner, session, "Much", { extensions });
      const tries = await Promise.allSettled(
        Array.from({ length: 12 }, (_, i) => hang(instances[i % 2] ?? instances[0], session, id, note(1000 + i))),
      );
      expect(tries.filter(({ status }) => status === "fulfilled")).toHaveLength(4);
      for (const one of tries) if (one.status === "rejected") expect(one.reason).toEqual(code("validation_failed"));
      const post = await getPost(handles.db, session.owner, id);
      expect(post.extensions).toHaveLength(MOST);
      const inOrder = post.extensions.slice(0, extensions.length).map(({ data }) => data["n"]);
      expect(inOrder).toEqual(extensions.map(({ data }) => data["n"]));
    });

    it("of each author as many, and none that keeps anybody from editing it", async () => {
      const [deps] = start();
      const session = await newSession(handles.db);
      const { id } = await say(deps, ANN, session, "Nice");
      for (let n = 0; n < MOST; n++) await hang(deps, session, id, react(`:${n}:`));
      await expect(hang(deps, session, id, react("👍"))).rejects.toEqual(code("validation_failed"));
      await addExtension(deps, ANN, { ...oneOn(id, react("👍")), key: null });
      for (const editor of [ANN, ADMIN]) await editPost(deps, editor, { id, content: `Nicer, says ${editor.self}` });
      expect((await getPost(handles.db, ANN, id)).extensions).toHaveLength(MOST + 3);
    });

    it("of all authors no more than it has room for", async () => {
      const [deps] = start();
      const session = await newSession(handles.db);
      const { id } = await say(deps, ANN, session, "Nice");
      const fill = (type: string) => {
        const one = { messageId: id, type, data: {}, createdAt: 1 };
        const rows = Array.from({ length: mostOfAll }, (_, n) => ({ ...one, id: newId(), authorId: `user ${n}` }));
        return handles.db.insert(handles.db.tables.messageExtensions).values(rows);
      };
      await fill("reaction");
      await expect(hang(deps, session, id, note(1))).rejects.toEqual(code("validation_failed"));
      await editPost(deps, ANN, { id, content: "Nicer" });
      await fill("edit_history");
      await expect(editPost(deps, ADMIN, { id, content: "No" })).rejects.toEqual(code("validation_failed"));
    });

    it("the same key gives the first one again, also after it was taken off", async () => {
      const instances = start();
      const session = await newSession(handles.db);
      const { id } = await say(instances[0], session.owner, session, "Hello");
      const hung = await Promise.all(
        [0, 1, 0].map((at) => hang(instances[at] ?? instances[0], session, id, note(1), "key")),
      );
      expect(new Set(hung.map((one) => one.id)).size).toBe(1);
      await removeExtension(instances[0], session.owner, { messageId: id, id: hung[0]?.id ?? "" });
      expect(await hang(instances[1], session, id, note(1), "key")).toEqual(hung[0]);
      await expect(hang(instances[0], session, id, note(2), "key")).rejects.toEqual(code("idempotency_mismatch"));
      expect((await getPost(handles.db, session.owner, id)).extensions).toEqual([]);
    });

    it("taken off once, of however many who try, by its author or an admin alone", async () => {
      const [deps, other] = start();
      const session = await newSession(handles.db);
      const { id: messageId } = await say(deps, session.owner, session, "Hello");
      const { id } = await hang(deps, session, messageId, note(1));
      await expect(removeExtension(deps, ANN, { messageId, id })).rejects.toEqual(code("forbidden"));
      const tries = await Promise.allSettled(
        [deps, other, deps].map((at) => removeExtension(at, ADMIN, { messageId, id })),
      );
      expect(tries.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
      for (const one of tries) if (one.status === "rejected") expect(one.reason).toEqual(code("not_found"));
    });

    it("no history but that of its edits, which nobody takes off", async () => {
      const [deps] = start();
      const session = await newSession(handles.db);
      const { id: messageId } = await say(deps, session.owner, session, "Hello");
      const forged = hang(deps, session, messageId, { type: "edit_history", data: { content: "Never said" } });
      await expect(forged).rejects.toEqual(code("forbidden"));
      const { extensions } = await edit(deps, session, messageId, "Hello!");
      const id = extensions[0]?.id ?? "";
      await expect(removeExtension(deps, ADMIN, { messageId, id })).rejects.toEqual(code("forbidden"));
    });

    it("nothing once it is deleted", async () => {
      const [deps] = start();
      const session = await newSession(handles.db);
      const { id } = await say(deps, session.owner, session, "Hello");
      await deletePost(deps, session.owner, id);
      await expect(hang(deps, session, id, note(1))).rejects.toEqual(code("not_found"));
    });
  });

  it("is said once with one key, also when the session has ended since, or the message is deleted", async () => {
    const instances = start();
    const session = await newSession(handles.db);
    const key = { key: "said", requestHash: "same" };
    const again = (at = 0) => say(instances[at] ?? instances[0], session.owner, session, "Once", { key });
    const said = await Promise.all([again(0), again(1), again(0)]);
    expect(new Set(said.map(({ id }) => id)).size).toBe(1);
    await move(instances[0], session.owner, session, END);
    expect((await again()).id).toBe(said[0]?.id);
    expect(await session.read()).toMatchObject({ messageCount: 1 });
    const mismatch = say(instances[0], session.owner, session, "Other", { key: { ...key, requestHash: "other" } });
    await expect(mismatch).rejects.toEqual(code("idempotency_mismatch"));
  });

  it("is not changed in a session that has ended", async () => {
    const [deps] = start();
    const session = await newSession(handles.db);
    const { owner } = session;
    const { id } = await say(deps, owner, session, "Hello", { extensions: [note(1)] });
    await move(deps, owner, session, END);
    const before = [await session.read(), await messagesOf(handles.db, session.id)];
    const extension = (await getPost(handles.db, owner, id)).extensions[0]?.id ?? "";
    const tries = [
      () => say(deps, owner, session, "More"),
      () => say(deps, ADMIN, session, "More", { role: "system", senderId: "root" }),
      () => edit(deps, session, id, "Bye"),
      () => deletePost(deps, ADMIN, id),
      () => hang(deps, session, id, note(2)),
      () => hang(deps, session, id, react("👍")),
      () => removeExtension(deps, owner, { messageId: id, id: extension }),
    ];
    for (const attempt of tries) await expect(attempt()).rejects.toEqual(code("session_ended"));
    expect([await session.read(), await messagesOf(handles.db, session.id)]).toEqual(before);
  });
});
