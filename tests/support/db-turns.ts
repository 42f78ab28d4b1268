import { and, asc, count, eq, inArray, sql } from "drizzle-orm";
import { afterAll, beforeAll, expect } from "vitest";
import { type Db, isConflict } from "../../src/db/db.ts";
import type { Conversation, Message, Turn } from "../../src/db/tables.ts";
import {
  type BeginTurn,
  type BegunTurn,
  batchedTurnWrites,
  type FinishTurn,
  type TurnWrites,
} from "../../src/db/turn-writes.ts";
import { databases, freshPostgres, open as openDb } from "./databases.ts";
import { refusal } from "./db-handles.ts";
import { nextId } from "./db-ids.ts";

/** Every spelling of the two writes, for `describe.each`: one contract holds for all. */
export const spellings = [
  { spelling: "SQLite", fresh: databases[0].fresh, writesOf: (db: Db) => db.turnWrites },
  { spelling: "Postgres, a statement each", fresh: freshPostgres, writesOf: (db: Db) => db.turnWrites },
  { spelling: "Postgres, a batch each", fresh: freshPostgres, writesOf: (db: Db) => batchedTurnWrites(() => db) },
] as const;

export const NOW = 1_790_000_000_000; // more than 32 bits hold
export const LEASE_MS = 10_000;

export type Asked = { input: BeginTurn; begun: BegunTurn };

/** A question with ids of its own, of a user of its own, to a conversation of its own. */
export function question(set: Partial<BeginTurn> = {}): BeginTurn {
  const userId = set.userId ?? `user-${nextId()}`;
  return {
    self: userId,
    sees: "own",
    owner: null,
    conversationId: nextId(),
    turnId: nextId(),
    questionId: nextId(),
    answerId: nextId(),
    userId,
    senderId: userId,
    content: "How are you today?",
    title: "A title",
    preview: "How are you?",
    model: "balanced",
    now: NOW,
    leaseMs: LEASE_MS,
    ...set,
  };
}

/** The next question to a conversation, a second later, by the one who asked before. */
export const another = ({ conversationId, userId, now }: BeginTurn, set: Partial<BeginTurn> = {}): BeginTurn =>
  question({ conversationId, userId, now: now + 1_000, ...set });

/** How a turn may end well. */
export function ending({ input, begun }: Asked, set: Partial<FinishTurn> = {}): FinishTurn {
  return {
    conversationId: input.conversationId,
    turnId: input.turnId,
    answerId: input.answerId,
    seq: begun.seq,
    status: "completed",
    content: "Fine, thank you.",
    preview: "Fine",
    target: "openai/large",
    finishReason: "stop",
    usage: { input_tokens: 3, output_tokens: 2, estimated: false },
    attempts: [{ target: "openai/large", outcome: "completed", status: 200, ms: 12, usage: null }],
    error: null,
    context: { messages: 1, omitted: 0, estimated_tokens: 5 },
    alternatives: [],
    now: input.now + 500,
    ...set,
  };
}

export const failing = (asked: Asked, set: Partial<FinishTurn> = {}): FinishTurn =>
  ending(asked, {
    status: "failed",
    content: "",
    preview: null,
    target: null,
    finishReason: null,
    usage: null,
    error: { code: "provider_failed", detail: "It failed." },
    context: null,
    ...set,
  });

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
