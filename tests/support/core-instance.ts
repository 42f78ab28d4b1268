import { eq } from "drizzle-orm";
import { expect, onTestFinished } from "vitest";
import { createConversation, getConversation } from "../../src/core/conversations.ts";
import { type Actor, actAs, type Role } from "../../src/core/identity.ts";
import { drainTurns } from "../../src/core/launch.ts";
import { createLive, type LiveTurn, type TurnDeps, type TurnRef } from "../../src/core/live.ts";
import { beginTurn, type Question } from "../../src/core/turns.ts";
import type { Db } from "../../src/db/db.ts";
import type { Conversation, Message, Turn } from "../../src/db/tables.ts";
import { type TestModels, testModels } from "./core-models.ts";
import { open } from "./databases.ts";

export const NOW = Date.UTC(2026, 0, 31, 12);

export type Instance = TurnDeps & {
  models: TestModels;
  /** What the instance's clock shows, and how often it was looked at. */
  time: { now: number; looks: number };
  /** The errors that it has logged, and its other lines. */
  logged: object[];
  lines: { level: "info" | "warn"; message: string; [field: string]: unknown }[];
  /** How each turn that ended here was counted: as completed, or by the code of its error. */
  counted: string[];
};

const UNLIMITED: TurnDeps["allowance"] = { turns: null, tokensADay: null };

/** A process of its own, as far as turns are concerned. What it still runs when the test is over is stopped. */
export function startInstance(db: Db, models: TestModels = testModels(), allowance = UNLIMITED): Instance {
  const time = { now: NOW, looks: 0 };
  const logged: object[] = [];
  const clock = () => {
    time.looks++;
    return time.now;
  };
  const lines: Instance["lines"] = [];
  const line = (level: "info" | "warn") => (fields: object, message: string) =>
    void lines.push({ level, message, ...fields });
  const log = { info: line("info"), warn: line("warn"), error: (fields: object) => void logged.push(fields) };
  const live = createLive();
  onTestFinished(() => drainTurns(live, 0));
  const counted: string[] = [];
  const observe: TurnDeps["observe"] = { turn: ({ status, error }) => void counted.push(error?.code ?? status) };
  const retention = { deletedMs: 30 * 86_400_000, untouchedMs: null };
  const told = { log, observe, time, logged, lines, counted };
  return { db, models, live, cache: null, clock, allowance, retention, systemPrompt: null, ...told };
}

/** A database for one test alone, as those need that sweep it. */
export async function openForTest(url: string): Promise<Db> {
  const db = await open(url);
  onTestFinished(() => db.close()); // after what was registered later, so that turns can still be stored
  return db;
}

export const as = (role: Role, userId: string, named?: string): Actor => actAs({ role, userId }, named);

let users = 0;
/** A user whom no other test has. */
export const newUser = (): Actor => as("user", `user-${++users}`);

/** An empty conversation of the actor's user. */
export function makeConversation(db: Db, actor: Actor, set: { title?: string | null; now?: number } = {}) {
  const made = { title: null, now: NOW, ...set, key: null };
  return createConversation(db, actor, { ...made, respond: (conversation) => conversation });
}

/** An empty conversation of a new user. */
export async function newConversation(db: Db, set: Partial<Conversation> = {}) {
  const owner = newUser();
  const { id } = await makeConversation(db, owner);
  if (Object.keys(set).length > 0) await change(db, id, set);
  return { owner, id, read: () => getConversation(db, as("admin", "root"), id) };
}

/** Changes a conversation's row as another part of Parley would. */
export async function change(db: Db, id: string, set: Partial<Conversation>): Promise<void> {
  await db.update(db.tables.conversations).set(set).where(eq(db.tables.conversations.id, id));
}

/** A turn that this process runs or holds in line; any other fails the test. */
export function ours(turn: TurnRef | LiveTurn): LiveTurn {
  if (!("progress" in turn)) throw new Error("the turn is not this process's");
  return turn;
}

/** Begins a turn of this process. */
export const begin = async (deps: TurnDeps, actor: Actor, question: Question): Promise<LiveTurn> =>
  ours(await beginTurn(deps, actor, question));

/** Sends a message to an existing conversation. */
export const send = (
  deps: TurnDeps,
  to: { owner: Actor; id: string },
  content: string,
  set: Partial<Question> = {},
): Promise<LiveTurn> => begin(deps, to.owner, { conversationId: to.id, content, model: undefined, ...set });

export async function turnsOf(db: Db, conversationId: string): Promise<Turn[]> {
  const t = db.tables.turns;
  return db.select().from(t).where(eq(t.conversationId, conversationId)).orderBy(t.id);
}

export async function turnRow(db: Db, { turnId }: { turnId: string }): Promise<Turn> {
  const [row] = await db.select().from(db.tables.turns).where(eq(db.tables.turns.id, turnId));
  if (!row) throw new Error("there is no such turn");
  return row;
}

/** Every message of a conversation as it is stored, in order. */
export async function messagesOf(db: Db, conversationId: string): Promise<Message[]> {
  const m = db.tables.messages;
  return db.select().from(m).where(eq(m.conversationId, conversationId)).orderBy(m.seq);
}

/** Lets the leases of turns run out. The last is written first: no order of rows may matter. */
export async function lapse(db: Db, ...turns: { turnId: string }[]): Promise<void> {
  const t = db.tables.turns;
  for (const { turnId } of turns.toReversed()) await db.update(t).set({ leaseUntil: 1 }).where(eq(t.id, turnId));
}

/** Holds a conversation's counts equal to what is stored. */
export async function expectTrueCounts(db: Db, conversationId: string): Promise<void> {
  const [turns, messages] = [await turnsOf(db, conversationId), await messagesOf(db, conversationId)];
  const row = await getConversation(db, as("admin", "root"), conversationId);
  expect({ openTurns: row.openTurns, messageCount: row.messageCount }).toEqual({
    openTurns: turns.filter(({ status }) => status === "queued" || status === "in_progress").length,
    messageCount: messages.filter(isListed).length,
  });
}

const isListed = ({ role, status, content, deletedAt, supersededAt }: Message) =>
  role !== "system" &&
  (status === "completed" || status === "incomplete") &&
  content !== "" &&
  deletedAt === null &&
  supersededAt === null;
