import { and, eq, gt } from "drizzle-orm";
import { type Db, statement } from "../db/db.ts";
import type { KeySwap, NewKey } from "../db/keys.ts";
import { inScope, scopeSlots } from "../db/scope.ts";
import type { Metadata } from "../db/tables.ts";
import { AppError, notFound } from "./errors.ts";
import type { Actor } from "./identity.ts";
import type { SeenTurn } from "./live.ts";
import { isOpen, seenTurn } from "./rows.ts";

/** How long a key is remembered, in milliseconds. */
const KEPT_MS = 24 * 60 * 60 * 1000;

/** An `Idempotency-Key` and the digest of the request that it came with. */
export type RequestKey = { key: string; requestHash: string };

/** A key as it is stored with the work it stands for: of what was said it holds nothing. */
export const takenKey = (actor: Actor, key: RequestKey, now: number, made: Made | null = null): NewKey => ({
  ...key,
  userId: actor.self,
  response: made,
  expiresAt: now + KEPT_MS,
});

const selectUse = statement([...scopeSlots, "userId", "key", "now"], (db, $) => {
  const { idempotencyKeys: k, turns: t, messages: m, conversations: c } = db.tables;
  return db
    .select({ use: k, turn: t, questionSeq: m.seq, deletedAt: m.deletedAt })
    .from(k)
    .leftJoin(t, eq(t.id, k.turnId))
    .leftJoin(c, and(eq(c.id, t.conversationId), inScope(db, $)))
    .leftJoin(m, and(eq(m.id, t.userMessageId), eq(m.conversationId, c.id)))
    .where(and(eq(k.userId, $.userId), eq(k.key, $.key), gt(k.expiresAt, $.now)));
});

async function readUse(db: Db, actor: Actor, { key: { key, requestHash }, now }: { key: RequestKey; now: number }) {
  const [row] = await db.all(selectUse, { ...beginnerOf(actor), userId: actor.self, key, now });
  if (row && row.use.requestHash !== requestHash) {
    throw new AppError("idempotency_mismatch", "This Idempotency-Key was used with another request; take a new one.");
  }
  return row;
}

/** An agent that made a conversation for a user does not see it; of its own request it is told again as that user. */
export const beginnerOf = (actor: Actor): Actor =>
  actor.sees === "live" && actor.owner !== null ? { ...actor, self: actor.owner, sees: "own" } : actor;

/** The turn that a key stands for, and how another takes its place where it `failed`. */
export type Earlier = {
  turn: SeenTurn;
  questionSeq: number;
  failed: boolean;
  swap: KeySwap;
  actor: Actor;
  /** Until when its process has promised to come back to it; null once it has ended. */
  leaseUntil: number | null;
};

/**
 * What the actor's key was used for; undefined if for nothing. `failed`: it has no whole answer, nor was it cancelled or
 * its question deleted. `actor`: as whom it was begun. Throws 422 where it was another request, 404 where its conversation is
 * deleted or no longer the actor's to see.
 */
export async function earlierUse(
  db: Db,
  actor: Actor,
  asked: { key: RequestKey; now: number },
): Promise<Earlier | undefined> {
  const row = await readUse(db, actor, asked);
  if (!row?.turn) return undefined;
  const by = beginnerOf(actor);
  const { turn, questionSeq, deletedAt } = row;
  if (questionSeq === null) throw notFound("conversation");
  const isWanted = turn.error?.code !== "turn_cancelled" && deletedAt === null;
  const failed = !isOpen(turn) && turn.status !== "completed" && isWanted;
  const { userId, key } = row.use;
  const { leaseUntil } = turn;
  return {
    actor: by,
    turn: seenTurn(by, turn),
    questionSeq,
    failed,
    leaseUntil,
    swap: { userId, key, turnId: turn.id },
  };
}

/** What a request made that ran no turn, and when, in milliseconds. The answer follows from these and from the request. */
export type Made = { id: string; at: number };

/** What a request that ran no turn made; undefined if the key is free. Throws 422 as `earlierUse` does. */
export async function earlierMade(
  db: Db,
  actor: Actor,
  asked: { key: RequestKey; now: number },
): Promise<Made | undefined> {
  const response = (await readUse(db, actor, asked))?.use.response;
  return response ? madeBy(response) : undefined;
}

/** The first versions stored the whole answer. */
function madeBy({ id, chat_id, message_id, at, created_at }: Metadata): Made {
  return {
    id: String(id ?? message_id ?? chat_id),
    at: typeof at === "number" ? at : Date.parse(String(created_at)) || 0,
  };
}
