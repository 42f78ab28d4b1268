import { randomUUID } from "node:crypto";
import { eq } from "drizzle-orm";
import { describe, expect, it } from "vitest";
import { createClaims } from "../../src/outbox/claims.ts";
import { STREAM } from "../../src/outbox/ledger.ts";
import { hashOf } from "../../src/stream-chat/parts.ts";
import { messagesOf, startInstance } from "../support/core-instance.ts";
import { answering, eventually, testModels } from "../support/core-models.ts";
import { newSession } from "../support/core-sessions.ts";
import { databases } from "../support/databases.ts";
import { useDatabase } from "../support/db-handles.ts";
import { ASSISTANT, at, messageEvent, startInbox } from "../support/stream-inbox.ts";

describe.each(databases)("what is made of an answer at Stream, on $database", ({ fresh }) => {
  const handles = useDatabase(fresh);

  /** A session whose answer the mirror has shown, and what somebody makes of it there. */
  async function given(models = answering()) {
    const deps = startInstance(handles.db, models);
    const inbox = startInbox(deps);
    const session = await newSession(handles.db);
    const talk = { channel: session.id, user: session.owner.userId };
    await inbox.work(messageEvent("new", talk, { id: randomUUID(), text: "question" }));
    const answer = async () => (await messagesOf(handles.db, session.id)).find(({ role }) => role === "assistant");
    const { conversations: c } = handles.db.tables;
    let seconds = 0;
    return {
      ...{ deps, session },
      whole: () => eventually(async () => expect((await answer())?.status).toBe("completed")),
      /** The mirror has shown all there is. */
      async shown() {
        const { rev } = await session.read();
        await handles.db.update(c).set({ mirrored: rev }).where(eq(c.id, session.id));
      },
      isDue: async () => (await session.read()).rev > (await session.read()).mirrored,
      async edit(text: string, of = text) {
        const { id, rev } = (await answer()) ?? {};
        const message = { id, text, updated_at: at(++seconds), parley: { rev, hash: hashOf(of) } };
        return inbox.work(messageEvent("updated", { ...talk, user: ASSISTANT }, message));
      },
    };
  }

  it("does not stand, and is shown again as it is", async () => {
    const { whole, shown, edit, isDue } = await given();
    await whole();
    await shown();
    expect(await edit("I am wise", "Answer to question")).toBe("not_its_author");
    expect(await isDue()).toBe(true);
  });

  it("stands where Stream itself makes it of what it is shown, or there would be no end; until it shows it as it is", async () => {
    const { whole, shown, edit, isDue } = await given();
    await whole();
    const dues: boolean[] = [];
    for (const text of ["masked", "masked", "other", "Answer to question", "other"]) {
      await shown();
      await edit(text, "Answer to question");
      dues.push(await isDue());
    }
    expect(dues).toEqual([true, false, true, false, true]);
  });

  it("is nothing while it is being made: that is its growth", async () => {
    const { shown, edit, isDue } = await given(testModels());
    await shown();
    expect(await edit("Answ", "")).toBeNull();
    expect(await isDue()).toBe(false);
  });

  it("does not stand where the mirror has shown the answer a moment ago, and not noted that yet", async () => {
    const { whole, session, edit } = await given();
    await whole();
    const { conversations: c } = handles.db.tables;
    await handles.db.update(c).set({ mirrored: 0 }).where(eq(c.id, session.id));
    const claims = createClaims(STREAM);
    const claim = await claims.take(handles.db, session.id, 10_000);
    const untold = await claims.untold(handles.db, session.id);
    expect(await edit("I am wise", "Answer to question")).toBe("not_its_author");
    if (!claim || !untold) throw new Error("there is nothing to tell");
    const { rev } = await session.read();
    expect(await claims.settle(handles.db, claim, { untold, rev })).toBe(true);
    expect(await claims.untold(handles.db, session.id)).not.toBeNull();
  });
});
