import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { deleteConversation } from "../../src/core/conversation-deletion.ts";
import {
  type ConversationCursor,
  countConversations,
  listConversations,
  renameConversation,
} from "../../src/core/conversations.ts";
import { type Actor, actAs } from "../../src/core/identity.ts";
import type { Db } from "../../src/db/db.ts";
import type { Conversation } from "../../src/db/tables.ts";
import { as, change, makeConversation, NOW, newUser } from "../support/core-instance.ts";
import { randomFrom } from "../support/core-random.ts";
import { databases, open } from "../support/databases.ts";

describe.each(databases)("conversations on $database", ({ fresh }) => {
  let db: Db;
  beforeAll(async () => {
    db = await open(await fresh());
  });
  afterAll(() => db.close());

  /** So many conversations, last touched at these times after NOW. */
  async function givenTouchedAt(owner: Actor, times: number[]): Promise<Conversation[]> {
    return Promise.all(times.map((time) => makeConversation(db, owner, { now: NOW + time })));
  }

  /** Ids in the order in which pages of `limit` give them; `meanwhile` runs between the pages. */
  async function walk(actor: Actor, limit: number, meanwhile: (seen: string[]) => unknown = () => {}) {
    const seen: string[] = [];
    let after: ConversationCursor | undefined;
    for (;;) {
      const page = await listConversations(db, actor, { limit, after });
      expect(page.rows.length).toBeLessThanOrEqual(limit);
      seen.push(...page.rows.map(({ id }) => id));
      if (!page.next) return seen;
      after = page.next;
      await meanwhile(seen);
    }
  }

  it("are listed the last touched first, and of one time the newest id first", async () => {
    const owner = newUser();
    const rows = await givenTouchedAt(owner, [3, 1, 2, 2, 1, 3, 2]);
    const { rows: listed, next } = await listConversations(db, owner, { limit: 50 });
    expect(listed.map(({ id }) => id)).toEqual(newestFirst(rows).map(({ id }) => id));
    expect(newestFirst(rows)).toMatchObject(listed);
    expect(next).toBeNull();
    const touched = newestFirst(rows).at(-1) as Conversation;
    await renameConversation(db, owner, { id: touched.id, title: "Touched", now: NOW + 9 });
    expect((await listConversations(db, owner, { limit: 1 })).rows[0]).toMatchObject({ id: touched.id });
  });

  it.each([1, 2, 7, 10, 56, 57, 58])("are all met once by walking in pages of %i", async (limit) => {
    const owner = newUser();
    const random = randomFrom(limit);
    const rows = await givenTouchedAt(
      owner,
      Array.from({ length: 57 }, () => random(4)),
    );
    expect(await walk(owner, limit)).toEqual(newestFirst(rows).map(({ id }) => id));
  });

  it("are all met once by walking where all were touched at the same moment", async () => {
    const owner = newUser();
    const rows = await givenTouchedAt(
      owner,
      Array.from({ length: 120 }, () => 0),
    );
    expect(await walk(owner, 7)).toEqual(newestFirst(rows).map(({ id }) => id));
  });

  it("are met once by walking while those already met are touched", async () => {
    const owner = newUser();
    const rows = await givenTouchedAt(
      owner,
      Array.from({ length: 20 }, (_, i) => i),
    );
    let now = NOW + 1_000;
    const met = await walk(owner, 3, async (seen) => {
      const id = seen[0] as string;
      await renameConversation(db, owner, { id, title: "Touched", now: ++now });
    });
    expect(met).toEqual(newestFirst(rows).map(({ id }) => id));
  });

  it("are skipped by an offset, also behind a cursor", async () => {
    const owner = newUser();
    const ids = newestFirst(await givenTouchedAt(owner, [1, 2, 2, 3, 4, 5])).map(({ id }) => id);
    const idsOf = async (page: Parameters<typeof listConversations>[2]) =>
      (await listConversations(db, owner, page)).rows.map(({ id }) => id);
    expect(await idsOf({ limit: 2, offset: 3 })).toEqual(ids.slice(3, 5));
    expect(await idsOf({ limit: 10, offset: 6 })).toEqual([]);
    const { next } = await listConversations(db, owner, { limit: 2, offset: 1 });
    expect(await idsOf({ limit: 2, after: next ?? undefined })).toEqual(ids.slice(3, 5));
    expect(await idsOf({ limit: 2, offset: 1, after: next ?? undefined })).toEqual(ids.slice(4, 6));
  });

  it("are listed by a limit of nothing as nothing", async () => {
    const owner = newUser();
    await givenTouchedAt(owner, [1]);
    expect(await listConversations(db, owner, { limit: 0 })).toEqual({ rows: [], next: null });
  });

  it("are counted as they are listed: without deleted ones", async () => {
    const owner = newUser();
    expect(await countConversations(db, owner)).toBe(0);
    const [first] = await givenTouchedAt(owner, [1, 2, 3]);
    expect(await countConversations(db, owner)).toBe(3);
    await deleteConversation(db, owner, { id: (first as Conversation).id, now: NOW });
    expect(await countConversations(db, owner)).toBe(2);
    expect((await listConversations(db, owner, { limit: 10 })).rows).toHaveLength(2);
  });

  describe("of two users", () => {
    let ada: string;
    let bob: string;
    let agent: string;
    beforeAll(async () => {
      [ada, bob, agent] = [newUser().userId, newUser().userId, newUser().userId];
      await givenTouchedAt(as("user", ada), [1, 2]);
      const [live] = await givenTouchedAt(as("user", bob), [3, 4, 5]);
      await change(db, (live as Conversation).id, { isLive: true });
      await givenTouchedAt(as("user", agent), [6]);
    });

    const opened = (named?: string, header: string | null = null) => actAs({ role: "open", userId: header }, named);

    it.each([
      { who: "a user", actor: () => as("user", ada), shown: () => [ada, ada] },
      { who: "the other user", actor: () => as("user", bob), shown: () => [bob, bob, bob] },
      { who: "a user without any", actor: () => newUser(), shown: () => [] },
      { who: "an agent (its own)", actor: () => as("agent", agent), shown: () => [agent] },
      { who: "an agent who names a user (the live ones)", actor: () => as("agent", agent, bob), shown: () => [bob] },
      { who: "an agent who names a user without live ones", actor: () => as("agent", agent, ada), shown: () => [] },
      { who: "an admin who names a user", actor: () => as("admin", "root", bob), shown: () => [bob, bob, bob] },
      { who: "a user who is named, when open", actor: () => opened(ada), shown: () => [ada, ada] },
      { who: "the user of a header, when open", actor: () => opened(undefined, bob), shown: () => [bob, bob, bob] },
      { who: "nobody in particular, when open", actor: () => opened(), shown: () => [] },
    ])("are listed and counted for $who", async ({ actor, shown }) => {
      const { rows } = await listConversations(db, actor(), { limit: 10 });
      expect(rows.map(({ userId }) => userId)).toEqual(shown());
      expect(await countConversations(db, actor())).toBe(shown().length);
    });
  });
});

const newestFirst = (rows: readonly Conversation[]) =>
  rows.toSorted((a, b) => b.updatedAt - a.updatedAt || (a.id < b.id ? 1 : -1));
