import { describe, expect, it } from "vitest";
import { databases } from "../support/databases.ts";
import { expectProblem, NOBODY, nextLink, PATIENT, time, uuid } from "../support/http-expect.ts";
import { asAgent, asUser, sessionCalls } from "../support/http-sessions.ts";
import { declares, useApp } from "../support/http-setup.ts";

describe.each(databases)("messages of sessions on $database", ({ fresh }) => {
  const parts = useApp({}, fresh);
  const { create, transfer, say, get, messages, call } = sessionCalls(parts);
  const alice = () => create({}, { user_id: "alice" }).then(({ id }) => id as string);
  const hang = (id: string, body: object, headers = {}) => call("POST", `/messages/${id}/extensions`, body, headers);
  const edit = (id: string, content: string) => call("PATCH", `/messages/${id}`, { content });
  const remove = (id: string) => call("DELETE", `/messages/${id}`);
  const reaction = (emoji: string) => ({ extension_type: "reaction", data: { emoji } });
  const attachment = (data: object) => ({ extension_type: "attachment", data });

  it("are answered with all that they are", async () => {
    const id = await alice();
    const extensions = [
      attachment({ url: "https://example.com/a.png", name: "a.png", mime_type: "image/png", size: 7 }),
      reaction("👍"),
      { extension_type: "x-any.thing_1", data: { nested: [1, { a: null }] } },
    ];
    const said = await say(id, asAgent("ann", "Look", { metadata: { a: 1 }, extensions, reply: false, admin: true }));
    expect(said.status).toBe(201);
    expect(said.json).toEqual({
      id: uuid,
      session_id: id,
      content: "Look",
      sender_type: "agent",
      sender_id: "ann",
      status: "completed",
      is_deleted: false,
      is_superseded: false,
      metadata: { a: 1 },
      extensions: extensions.map((one) => ({
        ...one,
        id: uuid,
        message_id: said.json.id,
        author_id: "anonymous",
        created_at: said.json.created_at,
      })),
      seq: 1,
      rev: 1,
      turn_id: null,
      model: null,
      created_at: time,
      edited_at: null,
    });
    expect((await call("GET", `/messages/${said.json.id}`)).json).toEqual(said.json);
    expect(await messages(id)).toEqual([said.json]);
  });

  it("are seen on the other surfaces: an agent's as the assistant's, notes and what is deleted not at all", async () => {
    const id = await alice();
    await say(id, asUser("alice", "Where is it?"));
    await transfer(id, { to: "agent", agent_id: "ann" });
    const wrong = (await say(id, asAgent("ann", "I lost it."))).json.id;
    await say(id, asAgent("ann", "It is on its way."));
    await remove(wrong);
    const surfaces = [
      (await parts.app.call("GET", `/chats/${id}/messages`)).json,
      (await parts.app.call("GET", `/api/chat/conversations/${id}`)).json.messages,
      (await parts.app.call("GET", `/conversations/${id}/`)).json.messages,
      (await parts.app.call("GET", "/conversations/?user_id=alice&limit=1")).json[0].messages,
    ].map((list) => list.map(({ role, sender, content }: Record<string, string>) => [role ?? sender, content]));
    for (const [i, name] of (["assistant", "assistant", "chatbot", "chatbot"] as const).entries()) {
      expect(surfaces[i]).toEqual([
        ["user", "Where is it?"],
        [name, "It is on its way."],
      ]);
    }
    expect((await parts.app.call("GET", `/chats/${id}`)).json).toMatchObject({
      message_count: 2,
      title: "Where is it?",
    });
    const [listed] = (await parts.app.call("GET", "/api/chat/conversations?user_id=alice")).json.conversations;
    expect(listed).toMatchObject({ id, last_message: "It is on its way." });
  });

  it("are listed from the first on, by pages that repeat nothing, deleted ones left out", async () => {
    const id = await alice();
    const ids: string[] = [];
    for (let i = 0; i < 7; i++) ids.push((await say(id, asUser("alice", `${i}`))).json.id);
    await remove(ids[2] ?? "");
    const left = ids.filter((_, i) => i !== 2);
    const seen: string[] = [];
    for (let path: string | undefined = `/api/v1/sessions/${id}/messages?limit=2`; path; ) {
      const page = await parts.app.call("GET", path);
      seen.push(...page.json.map((one: { id: string }) => one.id));
      path = nextLink(page);
    }
    expect(seen).toEqual(left);
    const part = await call("GET", `/sessions/${id}/messages?limit=2&offset=3`);
    expect(part.json.map((one: { id: string }) => one.id)).toEqual(left.slice(3, 5));
    expectProblem(await call("GET", `/sessions/${id}/messages?limit=501`), 422, "validation_failed");
  });

  describe("with reply", () => {
    it("are stored with all that hangs on them, and answered by the assistant", async () => {
      const id = await alice();
      const more = { reply: true, metadata: { from: "app" }, extensions: [reaction("🙂"), reaction("🙂")] };
      const said = await say(id, asUser("alice", "Hello", more));
      expect(said.status).toBe(201);
      expect(said.json).toMatchObject({
        content: "Hello",
        sender_type: "user",
        sender_id: "alice",
        metadata: { from: "app" },
      });
      expect(said.json.extensions).toMatchObject([reaction("🙂")]);
      expect(said.json.turn).toMatchObject({ conversation_id: id, user_message_id: said.json.id, model: "balanced" });
      await expect.poll(async () => (await messages(id))[1].status, PATIENT).toBe("completed");
      expect((await messages(id))[1]).toMatchObject({
        id: said.json.turn.message_id,
        sender_type: "assistant",
        sender_id: "assistant",
        turn_id: said.json.turn.id,
      });
      expect(parts.provider.asked.at(-1)?.body.messages.at(-1)?.content).toBe("Hello");
    });

    it("are streamed where that is asked for", async () => {
      const id = await alice();
      const streamed = await say(id, asUser("alice", "Hello", { reply: true, stream: true }));
      expect(streamed.status).toBe(200);
      expect(streamed.text).toMatch(/^event: turn.started\n.+\nevent: turn.completed\n/s);
    });

    it.each([{}, { metadata: { a: 1 }, extensions: [reaction("🙂")] }])(
      "are stored in one commit with their turn, or not at all: with %j",
      async (more) => {
        const id = await alice();
        await transfer(id, { to: "agent" });
        const before = (await get(id)).json;
        expectProblem(await say(id, asUser("alice", "Hello", { reply: true, ...more })), 409, "session_with_agent");
        expect((await get(id)).json).toEqual(before);
      },
    );

    it("are what a user says, and nobody else", async () => {
      const id = await alice();
      for (const sender_type of ["agent", "system", "assistant"]) {
        const refused = await say(id, { content: "x", sender_type, sender_id: "ann", reply: true });
        expectProblem(refused, 422, "validation_failed");
        expect(refused.json.errors).toMatchObject([{ path: "reply" }]);
      }
      expect((await get(id)).json.rev).toBe(0);
    });

    it("are said and answered once with one key, and a message without is said once", async () => {
      const id = await alice();
      const asked = parts.provider.asked.length;
      const keyed = (name: string, body: object) => say(id, body, { "idempotency-key": `${name}-${id}` });
      for (const more of [{ reply: true, metadata: { a: 1 } }, { extensions: [reaction("🙂")] }]) {
        const twice = await Promise.all(
          [0, 1].map(() => keyed(JSON.stringify(more).slice(2, 7), asUser("alice", "Once", more))),
        );
        expect(twice.map(({ status }) => status)).toEqual([201, 201]);
        expect(twice[1]?.json.id).toBe(twice[0]?.json.id);
        expect(twice[1]?.json.turn?.id).toBe(twice[0]?.json.turn?.id);
      }
      await expect.poll(async () => (await messages(id))[1]?.status, PATIENT).toBe("completed");
      expect(parts.provider.asked).toHaveLength(asked + 1);
      expect((await messages(id)).map(({ content }: { content: string }) => content)).toEqual([
        "Once",
        "Echo: Once",
        "Once",
      ]);
      expectProblem(await keyed("reply", asUser("alice", "Twice")), 422, "idempotency_mismatch");
    });
  });

  it("are edited with their history, and deleted for good; lists and answers follow", async () => {
    const id = await alice();
    await say(id, asUser("alice", "One"));
    const two = (await say(id, asUser("alice", "Two"))).json;
    const edited = await edit(two.id, "2");
    expect(edited.json).toMatchObject({ id: two.id, content: "2", edited_at: time, seq: two.seq, rev: two.rev + 1 });
    expect(edited.json.extensions).toMatchObject([
      { extension_type: "edit_history", data: { content: "Two", edited_at: time } },
    ]);
    const [listed] = (await parts.app.call("GET", "/api/chat/conversations?user_id=alice")).json.conversations;
    expect(listed).toMatchObject({ id, last_message: "2" });
    expect((await remove(two.id)).json).toMatchObject({ is_deleted: true, rev: two.rev + 2 });
    expectProblem(await remove(two.id), 404, "not_found");
    expectProblem(await edit(two.id, "3"), 404, "not_found");
    expectProblem(await hang(two.id, reaction("👍")), 404, "not_found");
    expect((await get(id)).json).toMatchObject({ message_count: 1, messages: [{ content: "One" }] });
    for (const content of ["", " ", 7, null]) {
      expectProblem(await call("PATCH", `/messages/${two.id}`, { content }), 422, "validation_failed");
    }
  });

  it("are shown to models as they were edited, and not once they are deleted", async () => {
    const id = await alice();
    const ask = (message: string) => parts.app.call("POST", "/chat", { chat_id: id, message, user_id: "alice" });
    const shown = () => JSON.stringify(parts.provider.asked.at(-1)?.body.messages);
    await ask("My dog is Rex.");
    const [question, answer] = await messages(id);
    await edit(question.id, "My dog is Max.");
    await ask("Who?");
    expect(shown()).toMatch(/My dog is Max\..*Who\?/);
    expect(shown()).not.toContain('"My dog is Rex');
    await remove(question.id);
    await remove(answer.id);
    await ask("And now?");
    expect(shown()).not.toMatch(/Max|Rex/);
  });

  it("once deleted are told by no stream, no alternative and no key", async () => {
    const id = await alice();
    const key = { "idempotency-key": `gone-${id}` };
    const ask = () => parts.app.call("POST", "/chat", { chat_id: id, message: "A word?" }, key);
    const { turn_id, message_id, reply } = (await ask()).json;
    const again = (await call("POST", `/messages/${message_id}/regenerate`)).json.message_id;
    const alternatives = async () => (await call("GET", `/messages/${again}/alternatives`)).json.alternatives;
    expect(await alternatives()).toMatchObject([{ id: message_id, content: reply }]);
    await remove(message_id);
    expect(await alternatives()).toEqual([]);
    expect((await call("GET", `/turns/${turn_id}/stream`)).text).not.toContain("message.delta");
    expect((await ask()).json).toMatchObject({ message_id, reply: "" });
    expectProblem(await call("POST", `/messages/${message_id}/regenerate`), 404, "not_found");
  });

  it("that are being made or answered are neither edited nor deleted", async () => {
    const id = await alice();
    const gate = Promise.withResolvers<void>();
    parts.provider.behave(() => ({
      text: ["Once", " more"],
      before: (i) => (i === 1 ? gate.promise : Promise.resolve()),
    }));
    const { id: question, turn } = (await say(id, asUser("alice", "Tell me", { reply: true }))).json;
    const refused = [await edit(turn.message_id, "x"), await remove(turn.message_id), await remove(question)];
    for (const one of refused) {
      expectProblem(one, 409, "conversation_busy");
      expect(one.json.turn_id).toBe(turn.id);
    }
    gate.resolve();
    await expect.poll(async () => (await messages(id))[1].status, PATIENT).toBe("completed");
    expect((await remove(turn.message_id)).status).toBe(200);
  });

  describe("carry", () => {
    const given = async () => {
      const id = await alice();
      return (await say(id, asUser("alice", "Hello"))).json.id as string;
    };

    it.each([
      ["a type that is none", { extension_type: "Big Type", data: {} }, "extension_type"],
      ["no data", { extension_type: "note" }, "data"],
      ["data that is no object", { extension_type: "note", data: [] }, "data"],
      ["too much", { extension_type: "note", data: { a: "é".repeat(8_192) } }, "data"],
      [
        "what is too deep",
        { extension_type: "note", data: { a: { a: { a: { a: { a: { a: { a: { a: {} } } } } } } } } },
        "data",
      ],
      ["a reaction without an emoji", { extension_type: "reaction", data: {} }, "data.emoji"],
      ["an attachment without an address", attachment({ name: "x" }), "data.url"],
      ["an attachment at no web address", attachment({ url: "javascript:alert(1)" }), "data.url"],
      ["an attachment at a relative address", attachment({ url: "/etc/passwd" }), "data.url"],
      ["an attachment of a negative size", attachment({ url: "https://a.example", size: -1 }), "data.size"],
      ["an attachment of no type", attachment({ url: "https://a.example", mime_type: "png" }), "data.mime_type"],
    ])("not %s", async (_, body, path) => {
      const id = await given();
      const refused = await hang(id, body);
      expectProblem(refused, 422, "validation_failed");
      expect(refused.json.errors).toMatchObject([{ path }]);
      expect((await call("GET", `/messages/${id}`)).json).toMatchObject({ extensions: [], rev: 1 });
    });

    it("of an attachment and a reaction what these have, and nothing beside it", async () => {
      const id = await given();
      const hung = await hang(id, attachment({ url: "https://a.example/x", admin: true }));
      expect(hung.json.data).toEqual({ url: "https://a.example/x" });
      const reacted = await hang(id, { ...reaction("👍"), data: { emoji: "👍", weight: 9 }, author_id: "eve" });
      expect(reacted.json).toMatchObject({ data: { emoji: "👍" }, author_id: "anonymous" });
      expect(reacted.json.data).not.toHaveProperty("weight");
    });

    it("as much as 16 KiB and 8 levels", async () => {
      const id = await given();
      const data = { a: "x".repeat(16_384 - '{"a":""}'.length) };
      expect((await hang(id, { extension_type: "note", data })).json.data).toEqual(data);
      const deep = { a: { a: { a: { a: { a: { a: { a: {} } } } } } } };
      expect((await hang(id, { extension_type: "note", data: deep })).json.data).toEqual(deep);
    });

    it("one reaction of an author with an emoji, and many of others and with others", async () => {
      const id = await given();
      const [first, second] = [await hang(id, reaction("👍")), await hang(id, reaction("👍"))];
      expect([first.status, second.status]).toEqual([201, 201]);
      expect(second.json).toEqual(first.json);
      await hang(id, reaction("👎"));
      await hang(id, { ...reaction("👍"), user_id: "alice" });
      const { extensions } = (await call("GET", `/messages/${id}`)).json;
      const seen = extensions.map((one: { author_id: string; data: { emoji: string } }) => [
        one.author_id,
        one.data.emoji,
      ]);
      expect(seen).toEqual([
        ["anonymous", "👍"],
        ["anonymous", "👎"],
        ["alice", "👍"],
      ]);
    });

    it("what one key hangs on them once", async () => {
      const id = await given();
      const key = { "idempotency-key": `hang-${id}` };
      const note = { extension_type: "note", data: { a: 1 } };
      const [first, second] = await Promise.all([hang(id, note, key), hang(id, note, key)]);
      expect(second.json).toEqual(first.json);
      await call("DELETE", `/messages/${id}/extensions/${first.json.id}`);
      expect((await hang(id, note, key)).json).toEqual(first.json);
      expect((await call("GET", `/messages/${id}`)).json.extensions).toEqual([]);
      expectProblem(await hang(id, { ...note, data: { a: 2 } }, key), 422, "idempotency_mismatch");
      expectProblem(await hang(id, note, { "idempotency-key": "é" }), 422, "validation_failed");
    });

    it("no history that edits did not write, and that one for good", async () => {
      const id = await given();
      const forged = { extension_type: "edit_history", data: { content: "Never said" } };
      expectProblem(await hang(id, forged), 403, "forbidden");
      const session = (await call("GET", `/messages/${id}`)).json.session_id;
      expectProblem(await say(session, asUser("alice", "x", { extensions: [forged] })), 403, "forbidden");
      const [history] = (await edit(id, "Hello!")).json.extensions;
      expectProblem(await call("DELETE", `/messages/${id}/extensions/${history.id}`), 403, "forbidden");
    });

    it("nothing that was taken off, which is not there a second time", async () => {
      const id = await given();
      const hung = (await hang(id, reaction("👍"))).json.id;
      const off = (message: string, one: string) => call("DELETE", `/messages/${message}/extensions/${one}`);
      expectProblem(await off(await given(), hung), 404, "not_found");
      expectProblem(await off(NOBODY, hung), 404, "not_found");
      expect((await off(id, hung)).status).toBe(204);
      expectProblem(await off(id, hung), 404, "not_found");
      expect((await call("GET", `/messages/${id}`)).json).toMatchObject({ extensions: [], rev: 3 });
    });
  });

  it("that are malformed are refused, and nothing is stored", async () => {
    const id = await alice();
    const many = Array.from({ length: 21 }, () => reaction("👍"));
    const wrong = [
      [{ sender_type: "user", sender_id: "alice" }, "content"],
      [asUser("alice", " "), "content"],
      [asUser("", "x"), "sender_id"],
      [{ ...asUser("alice", "x"), sender_type: "bot" }, "sender_type"],
      [asUser("alice", "x", { metadata: "x" }), "metadata"],
      [asUser("alice", "x", { extensions: many }), "extensions"],
      [asUser("alice", "x", { extensions: [attachment({ url: "x" })] }), "data.url"],
    ] as const;
    for (const [body, path] of wrong) {
      const refused = await say(id, body);
      expectProblem(refused, 422, "validation_failed");
      expect(refused.json.errors).toMatchObject([{ path }]);
    }
    expect((await get(id)).json).toMatchObject({ rev: 0, messages: [] });
  });

  declares(parts);
});
