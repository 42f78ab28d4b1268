import { and, asc, count, eq, inArray, sql } from "drizzle-orm";
import { afterAll, beforeAll, expect } from "vitest";
import { type Db, isConflict } from "../../src/db/db.ts";
import type { Conversation, Message, Turn } from "../../src/db/tables.ts";
import { type BeginTurn, batchedTurnWrites, type TurnWrites } from "../../src/db/turn-writes.ts";
import { databases, freshPostgres, open as openDb } from "./databases.ts";
import { refusal } from "./db-handles.ts";
import type { Asked } from "./db-questions.ts";

/** Every spelling of the two writes, for `describe.each`: one contract holds for all. */
export const spellings = [
  { spelling: "SQLite", fresh: databases[0].fresh, writesOf: (db: Db) => db.turnWrites },
  { spelling: "Postgres, a statement each", fresh: freshPostgres, writesOf: (db: Db) => db.turnWrites },
  { spelling: "Postgres, a batch each", fresh: freshPostgres, writesOf: (db: Db) => batchedTurnWrites(() => db) },
] as const;

export type Stored = { conversation: Conversation | undefined; messages: Message[]; turns: Turn[] };

/** The writes under test, and what one does around them. */
export type Turns = {
  url: string;
  db: Db;
  writes: TurnWrites;
  begin(input: BeginTurn, create?: boolean): Promise<Asked>;
  /** Everything of a conversation, in order. */
  stored(conversationId: string): Promise<Stored>;
  /** Sets fields of a conversation as others may. */
  change(conversationId: string, set: Partial<Conversation>): Promise<void>;
  /** Puts a waiting turn into the free slot, as the runner does. */
  promote(turnId: string): Promise<void>;
  /** The open turn that was stored first. */
  firstInLine(conversationId: string): Promise<{ turnId: string; status: Turn["status"]; seq: number } | undefined>;
  /** What the conversation says of its open turns, and what is true, read in one statement. */
  standing(conversationId: string): Promise<{ said: number; open: number; running: number }>;
  /** The write is refused with Conflict, and everything of the conversation stays as it was. */
  refused(conversationId: string, write: () => Promise<unknown>): Promise<void>;
};

export function useTurns({ fresh, writesOf }: (typeof spellings)[number]): Turns {
  const turns = {} as Turns;
  beforeAll(async () => {
    const url = await fresh();
    const db = await openDb(url);
    Object.assign(turns, turnsOver(url, db, writesOf(db)));
  });
  afterAll(() => turns.db?.close());
  return turns;
}

function turnsOver(url: string, db: Db, writes: TurnWrites): Turns {
  const { conversations: c, messages: m, turns: t } = db.tables;
  const open = inArray(t.status, ["queued", "in_progress"]);
  const stored = async (id: string) => ({
    conversation: (await db.select().from(c).where(eq(c.id, id)))[0],
    messages: await db.select().from(m).where(eq(m.conversationId, id)).orderBy(asc(m.seq)),
    turns: await db.select().from(t).where(eq(t.conversationId, id)).orderBy(asc(t.createdAt), asc(t.id)),
  });
  return {
    url,
    db,
    writes,
    stored,
    begin: async (input, create = false) => ({ input, begun: await writes.begin(input, create) }),
    async change(id, set) {
      expect(await db.update(c).set(set).where(eq(c.id, id)).returning({ id: c.id })).toHaveLength(1);
    },
    async promote(turnId) {
      const waiting = and(eq(t.id, turnId), eq(t.status, "queued"));
      expect(await db.update(t).set({ status: "in_progress" }).where(waiting).returning({ id: t.id })).toHaveLength(1);
    },
    async firstInLine(id) {
      const [row] = await db
        .select({ turnId: t.id, status: t.status, seq: m.seq })
        .from(t)
        .innerJoin(m, eq(m.id, t.messageId))
        .where(and(eq(t.conversationId, id), open))
        .orderBy(asc(m.seq))
        .limit(1);
      return row;
    },
    async standing(id) {
      const [row] = await db
        .select({
          said: c.openTurns,
          open: count(t.id),
          running: count(sql`case when ${t.status} = 'in_progress' then 1 end`),
        })
        .from(c)
        .leftJoin(t, and(eq(t.conversationId, c.id), open))
        .where(eq(c.id, id))
        .groupBy(c.id);
      if (!row) throw new Error("there is no such conversation");
      return row;
    },
    async refused(id, write) {
      const before = await stored(id);
      expect(await refusal(write())).toSatisfy(isConflict);
      expect(await stored(id)).toEqual(before);
    },
  };
}
