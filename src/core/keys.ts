import { and, eq, gt } from "drizzle-orm";
import { type Db, statement } from "../db/db.ts";
import type { KeySwap, NewKey } from "../db/keys.ts";
import type { Turn } from "../db/tables.ts";
import { AppError, notFound } from "./errors.ts";
import type { Actor } from "./identity.ts";
import type { SeenTurn } from "./live.ts";
import { isOpen, seenTurn } from "./rows.ts";

/** How long a key is remembered, in milliseconds. */
const KEPT_MS = 24 * 60 * 60 * 1000;

/** An `Idempotency-Key` and the digest of the request that it came with. */
export type RequestKey = { key: string; requestHash: string };

/** A key as it is stored with the work it stands for. */
export const takenKey = (actor: Actor, key: RequestKey, now: number, response: NewKey["response"] = null): NewKey => ({
  ...key,
  userId: actor.self,
  response,
  expiresAt: now + KEPT_MS,
});

const selectUse = statement(["userId", "key", "now"], (db, $) => {
  const { idempotencyKeys: k, turns: t, messages: m, conversations: c } = db.tables;
  return db
    .select({ use: k, turn: t, questionSeq: m.seq, deletedAt: m.deletedAt })
    .from(k)
    .leftJoin(t, eq(t.id, k.turnId))
    .leftJoin(c, eq(c.id, t.conversationId))
    .leftJoin(m, and(eq(m.id, t.userMessageId), eq(m.conversationId, c.id)))
    .where(and(eq(k.userId, $.userId), eq(k.key, $.key), gt(k.expiresAt, $.now)));
});

async function readUse(db: Db, actor: Actor, { key: { key, requestHash }, now }: { key: RequestKey; now: number }) {
  const [row] = await db.all(selectUse, { userId: actor.self, key, now });
  if (row && row.use.requestHash !== requestHash) {
    throw new AppError("idempotency_mismatch", "This Idempotency-Key was used with another request; take a new one.");
  }
  return row;
}

/** The turn that a key stands for, and how another takes its place where it `failed`. */
export type Earlier = { turn: SeenTurn; questionSeq: number; failed: boolean; swap: KeySwap; actor: Actor };

/**
 * What the actor's key was used for; undefined if for nothing. `failed`: it has no whole answer, nor was it cancelled or
 * its question deleted. `actor`: as whom it was begun. Throws 422 where it was another request, 404 where its conversation is
 * deleted.
 */
export async function earlierUse(
  db: Db,
  actor: Actor,
  asked: { key: RequestKey; now: number },
): Promise<Earlier | undefined> {
  const row = await readUse(db, actor, asked);
  if (!row?.turn) return undefined;
  const by = asBegun(actor, row.turn);
  const { turn, questionSeq, deletedAt } = row;
  if (questionSeq === null) throw notFound("conversation");
  const isWanted = turn.error?.code !== "turn_cancelled" && deletedAt === null;
  const failed = !isOpen(turn) && turn.status !== "completed" && isWanted;
  const { userId, key } = row.use;
  return { actor: by, turn: seenTurn(by, turn), questionSeq, failed, swap: { userId, key, turnId: turn.id } };
}

/** An agent that made a conversation for somebody else does not see it; of its own request it is told again all the same. */
const asBegun = (actor: Actor, { userId }: Turn): Actor =>
  actor.owner === userId ? { self: userId, sees: "own", owner: userId, userId } : actor;

/** What a request that ran no turn was answered with; undefined if the key is free. Throws 422 as `earlierUse` does. */
export async function earlierResponse(db: Db, actor: Actor, asked: { key: RequestKey; now: number }) {
  return (await readUse(db, actor, asked))?.use.response ?? undefined;
}
