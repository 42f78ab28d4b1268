import type { z } from "@hono/zod-openapi";
import { and, asc, eq, sql } from "drizzle-orm";
import { changesOf, EVERYBODY } from "../core/changes.ts";
import { type Db, statement } from "../db/db.ts";
import type { Conversation } from "../db/tables.ts";
import { type SessionMessage, toMessage, toSession } from "../http/sessions.ts";
import { timeOf } from "../http/time.ts";
import { toTurn } from "../http/turns.ts";
import type { Untold } from "../outbox/ledger.ts";
import type { Delivery } from "./post.ts";

/** What of a conversation the webhook has not been told: its state by revision, not its steps. */

type News = Delivery & { readonly rev: number };

/** The next delivery of a conversation, and the revision up to which it tells. */
export async function newsOf(db: Db, { session, tombstone, after }: Untold): Promise<News> {
  if (session) return changed(db, session, after);
  const { id, rev, userId, deletedAt } = tombstone;
  const data = { id, user_id: userId, rev, deleted_at: timeOf(deletedAt) };
  return {
    rev,
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

async function changed(db: Db, session: Conversation, after: number): Promise<News> {
  const conversationId = session.id;
  const { messages, rev } = await changedMessages(db, session, after);
  const hasAnswer = messages.some((message) => message.sender_type === "assistant");
  const turns = hasAnswer ? await db.all(selectTurns, { conversationId, after, rev }) : [];
  const finished = turns.map(({ turn }) => toTurn(turn));
  const timestamp = [timeOf(session.updatedAt), ...finished.map((turn) => turn.completed_at ?? "")].sort().at(-1);
  const data = { session: toSession(session), messages, turns: finished, after, rev };
  return {
    rev,
    id: `${conversationId}_${after}_${session.rev}`, // where it begins, and the state it is of: they say all of it
    body: JSON.stringify({ type: "session.changed", timestamp, data }),
  };
}

/** What one delivery holds, at most; one revision is never torn apart. */
const MOST_MESSAGES = 100;
const MOST_BYTES = 262_144;

type WireMessage = z.infer<typeof SessionMessage>;

/** The changed messages as anybody but an admin sees them, as many as fit, and the revision up to which that is all. */
async function changedMessages(
  db: Db,
  session: Conversation,
  after: number,
): Promise<{ messages: WireMessage[]; rev: number }> {
  const messages: WireMessage[] = [];
  let bytes = 0;
  let rev = after;
  for await (const revision of changesOf(db, EVERYBODY, { session, after })) {
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
