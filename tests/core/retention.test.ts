import { eq } from "drizzle-orm";
import { describe, expect, it } from "vitest";
import type { Actor } from "../../src/core/identity.ts";
import { deletePost, editPost } from "../../src/core/post-changes.ts";
import { deleteUntouched, eraseTexts } from "../../src/core/retention.ts";
import { getPost } from "../../src/core/thread.ts";
import type { Db } from "../../src/db/db.ts";
import { NOBODY_TO_TELL } from "../../src/db/outbox-tables.ts";
import {
  as,
  change,
  type Instance,
  makeConversation,
  NOW,
  newUser,
  openForTest,
  send,
  startInstance,
  turnRow,
} from "../support/core-instance.ts";
import { ADMIN, hang, newSession, say } from "../support/core-sessions.ts";
import { databases, open } from "../support/databases.ts";

const DAY = 86_400_000;

/** An instance that keeps things for so many days. */
const keeping = (db: Db, days: { deleted?: number; untouched?: number }): Instance => ({
  ...startInstance(db),
  retention: { deletedMs: (days.deleted ?? 30) * DAY, untouchedMs: (days.untouched ?? 0) * DAY || null },
});

describe.each(databases)("what is kept no longer on $database", ({ fresh }) => {
  /** A message that was said, edited, hung with something, and deleted. */
  async function deleted(deps: Instance) {
    const session = await newSession(deps.db);
    const { id } = await say(deps, session.owner, session, "First", { metadata: { of: "First" } });
    await editPost(deps, session.owner, { id, content: "Second" });
    await hang(deps, session.owner, { messageId: id, extension: { type: "note", data: { text: "Third" } } });
    await deletePost(deps, session.owner, id);
    return { id, session };
  }

  it("is the text of a deleted message once its days are over, and all that hung on it", async () => {
    const db = await openForTest(await fresh());
    const deps = keeping(db, { deleted: 7 });
    const { id, session } = await deleted(deps);
    const kept = await say(deps, session.owner, session, "Kept");
    const { rev } = await session.read();
    deps.time.now = NOW + 7 * DAY - 1;
    await eraseTexts(deps);
    expect(await getPost(db, ADMIN, id)).toMatchObject({ content: "Second", erasedAt: null, size: 6 });
    expect((await getPost(db, ADMIN, id)).extensions).toHaveLength(2);
    deps.time.now = NOW + 7 * DAY;
    await eraseTexts(deps);
    const blank = { content: "", metadata: null, extensions: [], erasedAt: NOW + 7 * DAY, deletedAt: NOW };
    expect(await getPost(db, ADMIN, id)).toMatchObject(blank);
    expect(await getPost(db, ADMIN, kept.id)).toMatchObject({ content: "Kept", erasedAt: null });
    expect((await session.read()).rev).toBe(rev);
    deps.time.now = NOW + 8 * DAY;
    await eraseTexts(deps);
    expect((await getPost(db, ADMIN, id)).erasedAt).toBe(NOW + 7 * DAY);
  });

  it("is looked after by two at once, also where one broke off", async () => {
    const url = await fresh();
    const [one, other] = [await openForTest(url), await open(url)];
    const deps = [keeping(one, {}), keeping(other, {})] as const;
    const all = [];
    for (let i = 0; i < 60; i++) all.push(await deleted(deps[0]));
    await one.delete(one.tables.messageExtensions).where(eq(one.tables.messageExtensions.messageId, all[0]?.id ?? ""));
    for (const { time } of deps) time.now = NOW + 30 * DAY;
    await Promise.all(deps.map((each) => eraseTexts(each)));
    const rows = await one.select().from(one.tables.messages);
    expect(rows.filter(({ content, erasedAt }) => content !== "" || erasedAt === null)).toEqual([]);
    expect(await one.select().from(one.tables.messageExtensions)).toEqual([]);
    await other.close();
  });

  it("is the text at once where it is kept for no day", async () => {
    const db = await openForTest(await fresh());
    const { id } = await deleted(keeping(db, { deleted: 0 }));
    const blank = { content: "", metadata: null, extensions: [], deletedAt: NOW, erasedAt: NOW };
    expect(await getPost(db, ADMIN, id)).toMatchObject(blank);
  });

  it("is a conversation that nobody has touched for so long, with its turns, as if it were deleted", async () => {
    const db = await openForTest(await fresh());
    const deps = keeping(db, { untouched: 90 });
    const conversations: { owner: Actor; id: string }[] = [];
    for (let i = 0; i < 210; i++) {
      const owner = i % 2 === 0 ? newUser() : (conversations.at(-1)?.owner ?? newUser());
      conversations.push({ owner, ...(await makeConversation(db, owner)) });
    }
    const [running, touched] = conversations;
    if (!running || !touched) throw new Error("there are none");
    const turn = await send(deps, running, "Hello");
    const call = await deps.models.call(1);
    await change(db, running.id, { told: 1 }); // a webhook is told
    await change(db, touched.id, { updatedAt: NOW + 1 });
    deps.time.now = NOW + 90 * DAY;
    await deleteUntouched(deps);
    expect(await db.select().from(db.tables.conversations)).toHaveLength(210);
    deps.time.now++;
    await deleteUntouched(deps);
    const left = await db.select().from(db.tables.conversations);
    expect(left.map(({ id }) => id)).toEqual([touched.id]);
    expect(await turnRow(db, turn)).toMatchObject({ status: "failed", error: { code: "turn_cancelled" } });
    expect(call.signal.aborted).toBe(true);
    expect(deps.lines).toContainEqual(expect.objectContaining({ conversations: 209 }));
    const tombstones = await db.select().from(db.tables.tombstones);
    expect(tombstones).toHaveLength(209);
    expect(tombstones.find(({ id }) => id === running.id)).toMatchObject({ userId: running.owner.self, told: 1 });
    expect(tombstones.find(({ id }) => id !== running.id)).toMatchObject({ userId: "", told: NOBODY_TO_TELL });
  });

  it("is no conversation where that is off", async () => {
    const db = await openForTest(await fresh());
    const deps = keeping(db, {});
    const { id } = await makeConversation(db, as("user", "ann"));
    deps.time.now = NOW + 36_500 * DAY;
    await deleteUntouched(deps);
    expect((await db.select().from(db.tables.conversations)).map((row) => row.id)).toEqual([id]);
  });
});
