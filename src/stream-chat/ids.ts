import { createHash } from "node:crypto";
import { eq, inArray, sql } from "drizzle-orm";
import { type Db, type Step, statement, step } from "../db/db.ts";
import type { Message } from "../db/tables.ts";

/** What messages and conversations are called here and at Stream, whose clients may choose any id. */

/** Derived ids are of version 8, so one that somebody chose cannot be another's. */
const OWN = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-79a-f][0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** The id here of a message of Stream's: its own where that is a UUID in lower case, else always the same one made from it. */
export const messageIdOf = (streamId: string): string => idOf("message", streamId);

/** The same of the conversation that a channel is. */
export const conversationIdOf = (channelId: string): string => idOf("channel", channelId);

function idOf(kind: "message" | "channel", streamId: string): string {
  if (OWN.test(streamId)) return streamId;
  const bytes = createHash("sha256").update(`parley ${kind} ${streamId}`).digest().subarray(0, 16);
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x80; // RFC 9562: version 8
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  const hex = bytes.toString("hex");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

const selectChannel = statement(["conversationId"], (db, $) => {
  const s = db.tables.streamChannels;
  return db.select().from(s).where(eq(s.id, $.conversationId));
});

/** The channel that a conversation is, also one that was deleted. */
export async function channelIdOf(db: Db, conversationId: string): Promise<string> {
  const [row] = await db.all(selectChannel, { conversationId });
  return row?.streamId ?? conversationId;
}

/** Of messages those that came from Stream, each with its id there. */
export async function streamIdsOf(db: Db, messageIds: readonly string[]): Promise<Map<string, string>> {
  if (messageIds.length === 0) return new Map();
  const s = db.tables.streamMessages;
  const rows = await db
    .select({ id: s.id, streamId: s.streamId })
    .from(s)
    .where(inArray(s.id, [...messageIds]));
  return new Map(rows.map((row) => [row.id, row.streamId]));
}

const insertChannel = statement(["id", "streamId"], (db, $) =>
  db.insert(db.tables.streamChannels).values({ id: $.id, streamId: $.streamId }).onConflictDoNothing(),
);

/** Keeps what a channel is called, where that cannot be told from its conversation's id. */
export const channelSteps = (channelId: string): Step<unknown>[] => {
  const id = conversationIdOf(channelId);
  return id === channelId ? [] : [step(insertChannel, { id, streamId: channelId })];
};

/** A guard: the conversation was not deleted. */
export const isNotDeleted = statement(["id"], (db, $) => {
  const t = db.tables.tombstones;
  return db
    .select({ free: sql<number>`1` })
    .from(sql`(select 1) as once`)
    .where(sql`not exists (select 1 from ${t} where ${t.id} = ${$.id})`);
});

const setBack = statement(["id", "messageId"], (db, $) => {
  const { conversations: c, messages: m } = db.tables;
  const before = sql`(select ${m.rev} - 1 from ${m} where ${m.id} = ${$.messageId})`;
  // Moved it is in any case: who is about to note that all was shown may have shown it before it was changed there.
  const mirrored = sql`case when ${c.mirrored} > ${before} then ${before} else ${c.mirrored} - 1 end`;
  return db.update(c).set({ mirrored }).where(eq(c.id, $.id));
});

/** Has the mirror show a message once more as it is here: what was made of it at Stream does not stand. */
export async function showAgain(db: Db, { id, conversationId }: Pick<Message, "id" | "conversationId">): Promise<void> {
  await db.batch([step(setBack, { id: conversationId, messageId: id })]);
}

const stateSlots = ["id", "streamId", "changedAt"] as const;

const insertState = statement(stateSlots, (db, $) =>
  db.insert(db.tables.streamMessages).values({ id: $.id, streamId: $.streamId, changedAt: $.changedAt }),
);

/** A guard: notes of which time the state is that was taken over last, unless that is a newer one. */
export const newerState = statement(stateSlots, (db, $) => {
  const s = db.tables.streamMessages;
  return db
    .insert(s)
    .values({ id: $.id, streamId: $.streamId, changedAt: $.changedAt })
    .onConflictDoUpdate({
      target: s.id,
      set: { changedAt: $.changedAt },
      setWhere: sql`${s.changedAt} <= ${$.changedAt}`,
    })
    .returning({ id: s.id });
});

export type State = { id: string; streamId: string; changedAt: number };
export const noteState = (state: State): Step<unknown> => step(newerState, state);

/** A message that comes from Stream: its id here, and what is noted in the batch that stores it. */
export function cameFromStream(streamId: string, changedAt: number): { messageId: string; steps: Step<unknown>[] } {
  const messageId = messageIdOf(streamId);
  return { messageId, steps: [step(insertState, { id: messageId, streamId, changedAt })] };
}
