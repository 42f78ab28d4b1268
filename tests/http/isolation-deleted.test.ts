import { describe, expect, it } from "vitest";
import { databases } from "../support/databases.ts";
import { expectProblem } from "../support/http-expect.ts";
import { framesOf, openStream } from "../support/http-stream.ts";
import { type Caller, somebody, tokenOf } from "../support/isolation-people.ts";
import { useWorld } from "../support/isolation-world.ts";

/** What was said, and is told no more. */
const GONE = {
  first: "Zebra crossing at dawn",
  edited: "Quokka smiling at noon",
  metadata: "Numbat digging at dusk",
  attached: "Wombat rolling at night",
  answer: "Echo: Zebra crossing at dawn",
  betterAnswer: "Dingo howling at midnight",
  noted: "Possum hanging at five",
};

describe.each(databases)("what is deleted on $database", (database) => {
  const world = useWorld(database);
  const call = (who: Caller, method: string, path: string, body?: Record<string, unknown>, key?: string) =>
    world.call(who, { method, path, ...(body && { body }) }, { key });

  /** A session whose first question and its answer were edited, hung with things, and deleted. */
  async function givenDeleted() {
    const [owner, agent, admin] = [somebody(), somebody("agent"), somebody("admin")];
    const { id: conversation } = (await call(owner, "POST", "/api/v1/sessions")).json;
    const asking = { chat_id: conversation, message: GONE.first };
    const sent = (await call(owner, "POST", "/chat", asking, "the-question")).json;
    const { turn_id: turn, message_id: answer } = sent;
    const message = (await call(owner, "GET", `/api/v1/turns/${turn}`)).json.user_message_id;
    const hung = { extension_type: "note", data: { text: GONE.attached } };
    const extension = (await call(owner, "POST", `/api/v1/messages/${message}/extensions`, hung)).json.id;
    await call(owner, "PATCH", `/api/v1/messages/${message}`, { content: GONE.edited });
    await call(admin, "PATCH", `/api/v1/messages/${answer}`, { content: GONE.betterAnswer });
    await call(agent, "POST", `/api/v1/messages/${answer}/extensions`, { ...hung, data: { text: GONE.noted } });
    const posting = { content: GONE.first, sender_type: "user", sender_id: owner.userId };
    const more = {
      metadata: { of: GONE.metadata },
      extensions: [{ extension_type: "note", data: { of: GONE.noted } }],
    };
    const posted = `/api/v1/sessions/${conversation}/messages`;
    const { id: second } = (await call(owner, "POST", posted, { ...posting, ...more }, "the-post")).json;
    const { rev } = (await call(owner, "GET", `/api/v1/sessions/${conversation}`)).json;
    for (const [who, id] of [[owner, message] as const, [admin, answer] as const, [owner, second] as const]) {
      const deleted = await call(who, "DELETE", `/api/v1/messages/${id}`);
      expect(deleted).toMatchObject({ status: 200, json: { is_deleted: true } });
      if (who === owner) expect(deleted.json).toMatchObject({ content: "", extensions: [], metadata: {} });
    }
    const rows = { conversation, turn, answer, message, extension };
    return { owner, agent, admin, rows, second, rev, asking, posting: { ...posting, ...more }, posted };
  }

  const expectNothingOf = (told: unknown) => {
    const raw = typeof told === "string" ? told : JSON.stringify(told);
    for (const text of Object.values(GONE)) expect(raw).not.toContain(text);
  };

  it("is in no answer to anybody but an admin: no list, no session, no turn, no event, no transcript", async () => {
    const { owner, agent, admin, rows, second, rev } = await givenDeleted();
    const about = `user_id=${owner.userId}`;
    const at = `/api/v1/sessions/${rows.conversation}`;
    await call(owner, "POST", `${at}/transfer`, { to: "agent" });
    const more = [
      ...["text", "markdown", "json"].map((format) => `${at}/transcript?format=${format}`),
      ...[rows.message, rows.answer, second].map((id) => `/api/v1/messages/${id}`),
      ...[rows.answer, rows.message].map((id) => `/api/v1/messages/${id}/alternatives`),
      `/chats?${about}`,
      `/conversations/?${about}`,
      `/api/chat/conversations?${about}`,
      `/api/v1/users/${owner.userId}/sessions`,
      `/api/v1/turns/${rows.turn}/stream`,
      `/api/v1/queue?${about}`,
    ];
    for (const viewer of [owner, agent]) {
      expectNothingOf(await world.shown(viewer, rows));
      for (const path of more) expectNothingOf((await call(viewer, "GET", path)).text);
      for (const after of [0, 1, rev - 1, rev]) {
        const headers = { authorization: `Bearer ${await tokenOf(viewer)}`, "last-event-id": String(after) };
        const stream = await openStream(world.app, "GET", `${at}/events`, undefined, headers);
        await stream.until("session");
        await stream.leave();
        const raw = stream.writes.join("");
        expectNothingOf(raw);
        const told = framesOf(raw).filter(({ event }) => event === "message");
        expect(told.filter(({ data }) => data.is_deleted).map(({ data }) => data.content)).toEqual(["", "", ""]);
      }
    }
    const kept = (await call(admin, "GET", `/api/v1/messages/${rows.message}`)).text;
    for (const text of [GONE.first, GONE.edited, GONE.attached]) expect(kept).toContain(text);
    expect((await call(admin, "GET", `/api/v1/messages/${rows.answer}`)).text).toContain(GONE.noted);
  });

  it("is not told again by the Idempotency-Key that it was said with, nor to a model", async () => {
    const { owner, rows, asking, posting, posted } = await givenDeleted();
    expectNothingOf((await call(owner, "POST", "/chat", asking, "the-question")).text);
    expectNothingOf((await call(owner, "POST", posted, posting, "the-post")).text);
    const asked = world.provider.asked.length;
    await call(owner, "POST", "/chat", { chat_id: rows.conversation, message: "And now?" });
    const shown = world.provider.asked.slice(asked).map(({ body }) => body);
    expect(shown).toHaveLength(1);
    expectNothingOf(shown);
  });

  it("leaves no name to the session but that of the next message", async () => {
    const { owner, rows } = await givenDeleted();
    const session = async () => (await call(owner, "GET", `/api/v1/sessions/${rows.conversation}`)).json;
    expect(await session()).toMatchObject({ title: null, message_count: 0, messages: [] });
    const said = { content: "Koala", sender_type: "user", sender_id: owner.userId };
    await call(owner, "POST", `/api/v1/sessions/${rows.conversation}/messages`, said);
    expect(await session()).toMatchObject({ title: "Koala", message_count: 1 });
  });

  it("can be brought back by nobody", async () => {
    const { owner, agent, rows } = await givenDeleted();
    for (const who of [owner, agent]) {
      const at = `/api/v1/messages/${rows.message}`;
      expectProblem(await call(who, "PATCH", at, { content: "Back" }), 404, "not_found");
      expectProblem(await call(who, "DELETE", at), 404, "not_found");
      const hung = { extension_type: "note", data: {} };
      expectProblem(await call(who, "POST", `${at}/extensions`, hung), 404, "not_found");
      expectProblem(await call(who, "DELETE", `${at}/extensions/${rows.extension}`), 404, "not_found");
    }
  });
});
