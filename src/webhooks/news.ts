import type { z } from "@hono/zod-openapi";
import { and, asc, eq, sql } from "drizzle-orm";
import { changesOf, EVERYBODY } from "../core/changes.ts";
import { type Db, statement } from "../db/db.ts";
import type { Conversation } from "../db/tables.ts";
import { timeOf } from "../http/schemas.ts";
import { type SessionMessage, toMessage, toSession } from "../http/sessions.ts";
import { toTurn } from "../http/turns.ts";
import type { Delivery } from "./post.ts";

/** What of a conversation the webhook has not been told: its state by revision, not its steps. */

/** What a delivery tells: all that changed after one revision, up to another. */
export type Told = { readonly after: number; readonly rev: number; readonly deleted: boolean };

const selectUntold = statement(["id"], (db, $) => {
  const c = db.tables.conversations;
  return db
    .select()
    .from(c)
    .where(and(eq(c.id, $.id), sql`${c.rev} > ${c.told}`));
});

const selectUntoldDeleted = statement(["id"], (db, $) => {
  const t = db.tables.tombstones;
  return db
    .select()
    .from(t)
    .where(and(eq(t.id, $.id), sql`${t.rev} > ${t.told}`));
});

/** Whether there is something to tell. */
export async function isUntold(db: Db, id: string): Promise<boolean> {
  if ((await db.all(selectUntold, { id })).length > 0) return true;
  return (await db.all(selectUntoldDeleted, { id })).length > 0;
}

/** The next delivery of a conversation, which the caller has claimed; null where all is told. */
export async function nextNews(db: Db, id: string): Promise<(Delivery & Told) | null> {
  const [session] = await db.all(selectUntold, { id });
  if (session) return changed(db, session);
  const [tombstone] = await db.all(selectUntoldDeleted, { id });
  if (!tombstone) return null;
  const { rev, told: after, userId, deletedAt } = tombstone;
  const data = { id, user_id: userId, rev, deleted_at: timeOf(deletedAt) };
  return {
    ...{ after, rev, deleted: true },
    id: `${id}_${after}_${rev}`,
    body: JSON.stringify({ type: "session.deleted", timestamp: data.deleted_at, data }),
  };
}

const selectTurns = statement(["conversationId", "after", "rev"], (db, $) => {
  const { turns: t, messages: m } = db.tables;
  return db
    .select({ turn: t })
    .from(t)
    .innerJoin(m, and(eq(m.turnId, t.id), eq(m.id, t.messageId))) // by the turn's id, which has an index
    .where(
      and(
        eq(m.conversationId, $.conversationId),
        sql`${m.rev} > cast(${$.after} as integer) and ${m.rev} <= cast(${$.rev} as integer)`,
        sql`${t.status} in ('completed', 'incomplete', 'failed')`,
      ),
    )
    .orderBy(asc(m.rev), asc(m.seq));
});

async function changed(db: Db, session: Conversation): Promise<Delivery & Told> {
  const { id: conversationId, told: after } = session;
  const { messages, rev } = await changedMessages(db, session);
  const hasAnswer = messages.some((message) => message.sender_type === "assistant");
  const turns = hasAnswer ? await db.all(selectTurns, { conversationId, after, rev }) : [];
  const finished = turns.map(({ turn }) => toTurn(turn));
  const timestamp = [timeOf(session.updatedAt), ...finished.map((turn) => turn.completed_at ?? "")].sort().at(-1);
  const data = { session: toSession(session), messages, turns: finished, after, rev };
  return {
    ...{ after, rev, deleted: false },
    id: `${conversationId}_${after}_${session.rev}`, // where it begins, and the state it is of: they say all of it
    body: JSON.stringify({ type: "session.changed", timestamp, data }),
  };
}

/** What one delivery holds, at most; one revision is never torn apart. */
const MOST_MESSAGES = 100;
const MOST_BYTES = 262_144;

type WireMessage = z.infer<typeof SessionMessage>;

/** The changed messages as anybody but an admin sees them, as many as fit, and the revision up to which that is all. */
async function changedMessages(db: Db, session: Conversation): Promise<{ messages: WireMessage[]; rev: number }> {
  const messages: WireMessage[] = [];
  let bytes = 0;
  let rev = session.told;
  for await (const revision of changesOf(db, EVERYBODY, { session, after: session.told })) {
    const ofRevision = revision.messages.map((message) => withoutPart(toMessage(message, { sees: "own" })));
    bytes += Buffer.byteLength(JSON.stringify(ofRevision));
    const isFull = messages.length + ofRevision.length > MOST_MESSAGES || bytes > MOST_BYTES;
    if (isFull && messages.length > 0) return { messages, rev };
    messages.push(...ofRevision);
    rev = revision.rev;
  }
  return { messages, rev };
}

/** The text of an answer in the making takes no revision, so it is told once it is whole. */
const withoutPart = (message: WireMessage): WireMessage =>
  message.status === "in_progress" ? { ...message, content: "" } : message;
