import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { deleteConversation } from "../../src/core/conversation-deletion.ts";
import { getConversation, renameConversation } from "../../src/core/conversations.ts";
import { wholeAnswer } from "../../src/core/follow.ts";
import { type Actor, actAs } from "../../src/core/identity.ts";
import { beginTurn } from "../../src/core/turns.ts";
import type { Db } from "../../src/db/db.ts";
import {
  as,
  makeConversation,
  messagesOf,
  NOW,
  newConversation,
  newUser,
  send,
  startInstance,
  turnsOf,
} from "../support/core-instance.ts";
import { answering } from "../support/core-models.ts";
import { listMessages } from "../support/core-pages.ts";
import { databases, open } from "../support/databases.ts";

const notFound = expect.objectContaining({ code: "not_found" });
const unknownId = "01990b5e-7c1a-7d2e-9f3a-4b5c6d7e8f90";

/** Everybody who may ask for a conversation, and of which kind each sees it. */
const callers: { who: string; actor(owner: string): Actor; sees: "both" | "live" | "none" }[] = [
  { who: "its owner", actor: (owner) => as("user", owner), sees: "both" },
  { who: "another user", actor: () => as("user", "mallory"), sees: "none" },
  { who: "an agent", actor: () => as("agent", "eve"), sees: "live" },
  { who: "an agent who names the owner", actor: (owner) => as("agent", "eve", owner), sees: "live" },
  { who: "an agent who names somebody else", actor: () => as("agent", "eve", "mallory"), sees: "none" },
  { who: "an admin", actor: () => as("admin", "root"), sees: "both" },
  { who: "an admin who names the owner", actor: (owner) => as("admin", "root", owner), sees: "both" },
  { who: "an admin who names somebody else", actor: () => as("admin", "root", "mallory"), sees: "none" },
  {
    who: "nobody in particular, when open,",
    actor: () => actAs({ role: "open", userId: null }, undefined),
    sees: "both",
  },
  {
    who: "the owner by name, when open,",
    actor: (owner) => actAs({ role: "open", userId: null }, owner),
    sees: "both",
  },
  {
    who: "somebody else by name, when open,",
    actor: () => actAs({ role: "open", userId: null }, "mallory"),
    sees: "none",
  },
  {
    who: "somebody else by header, when open,",
    actor: () => actAs({ role: "open", userId: "mallory" }, undefined),
    sees: "none",
  },
];

const cases = callers.flatMap(({ who, actor, sees }) => [
  { who, actor, isLive: false, kind: "a conversation", may: sees === "both" },
  { who, actor, isLive: true, kind: "a live session", may: sees !== "none" },
]);

describe.each(databases)("on $database", ({ fresh }) => {
  let db: Db;
  beforeAll(async () => {
    db = await open(await fresh());
  });
  afterAll(() => db.close());

  describe("a conversation", () => {
    it("begins empty, active, with the assistant in control, as its user's", async () => {
      const owner = newUser();
      const made = await makeConversation(db, owner);
      expect(made).toMatchObject({
        id: expect.stringMatching(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/),
        userId: owner.userId,
        title: null,
        isLive: false,
        status: "active",
        control: "assistant",
        rev: 0,
        messageCount: 0,
        openTurns: 0,
        createdAt: NOW,
        updatedAt: NOW,
        endedAt: null,
      });
      expect(await getConversation(db, owner, made.id)).toEqual(made);
    });

    it("becomes that of a user whom an agent or an admin names", async () => {
      for (const actor of [as("agent", "eve", "bob"), as("admin", "root", "bob")]) {
        const { id, title } = await makeConversation(db, actor, { title: "For Bob" });
        expect(title).toBe("For Bob");
        expect((await getConversation(db, as("user", "bob"), id)).userId).toBe("bob");
      }
    });

    it("takes a new title, which moves updated_at and takes the next rev, and nothing else", async () => {
      const { owner, id, read } = await newConversation(db);
      const before = await read();
      const renamed = await renameConversation(db, owner, { id, title: "Chess ♟", now: NOW + 5 });
      expect(renamed).toEqual({ ...before, title: "Chess ♟", updatedAt: NOW + 5, rev: before.rev + 1 });
      expect(await read()).toEqual(renamed);
    });

    it("that never was is not found, whatever is asked of it", async () => {
      const root = as("admin", "root");
      await expect(getConversation(db, root, unknownId)).rejects.toEqual(notFound);
      await expect(renameConversation(db, root, { id: unknownId, title: "x", now: NOW })).rejects.toEqual(notFound);
      await expect(deleteConversation(db, root, { id: unknownId, now: NOW })).rejects.toEqual(notFound);
    });
  });

  describe.each(cases)("$who, before $kind of somebody,", ({ actor, isLive, may }) => {
    /** One with an answered question in it. */
    async function given() {
      const conversation = await newConversation(db, { isLive });
      const deps = startInstance(db, answering());
      await wholeAnswer(deps, await send(deps, conversation, "Hello"));
      const stored = async () => [
        await conversation.read(),
        await messagesOf(db, conversation.id),
        await turnsOf(db, conversation.id),
      ];
      return { deps, id: conversation.id, actor: actor(conversation.owner.userId), stored, before: await stored() };
    }

    it(may ? "sees it" : "finds nothing", async () => {
      const { id, actor, before } = await given();
      const [row] = before;
      if (may) expect(await getConversation(db, actor, id)).toEqual(row);
      else await expect(getConversation(db, actor, id)).rejects.toEqual(notFound);
      const { rows, next } = await listMessages(db, actor, { conversationId: id, limit: 10 });
      expect(rows.map(({ content }) => content)).toEqual(may ? ["Hello", "Answer to Hello"] : []);
      expect(next).toBeNull();
    });

    it(may ? "may rename it" : "changes nothing by renaming it", async () => {
      const { id, actor, stored, before } = await given();
      const renaming = renameConversation(db, actor, { id, title: "Mine", now: NOW + 9 });
      if (may) return expect(await renaming).toMatchObject({ title: "Mine", updatedAt: NOW + 9 });
      await expect(renaming).rejects.toEqual(notFound);
      expect(await stored()).toEqual(before);
    });

    it(may ? "may send to it" : "stores nothing by sending to it", async () => {
      const { deps, id, actor, stored, before } = await given();
      const sending = beginTurn(deps, actor, { conversationId: id, content: "And I", model: undefined });
      if (may) return expect(await wholeAnswer(deps, await sending)).toMatchObject({ content: "Answer to And I" });
      await expect(sending).rejects.toEqual(notFound);
      expect(await stored()).toEqual(before);
      expect(deps.models.calls).toHaveLength(1);
    });

    it(may ? "may delete it" : "changes nothing by deleting it", async () => {
      const { id, actor, stored, before } = await given();
      const deleting = deleteConversation(db, actor, { id, now: NOW + 9 });
      if (!may) {
        await expect(deleting).rejects.toEqual(notFound);
        return expect(await stored()).toEqual(before);
      }
      expect(await deleting).toEqual([]);
      await expect(getConversation(db, as("admin", "root"), id)).rejects.toEqual(notFound);
    });
  });
});
