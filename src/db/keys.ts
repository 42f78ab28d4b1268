import { and, eq, lte } from "drizzle-orm";
import { guard, type Step, statement, step } from "./db.ts";

/** An `Idempotency-Key` that is taken with the work it stands for; `response` where that runs no turn. */
export type NewKey = {
  userId: string;
  key: string;
  requestHash: string;
  response: Record<string, unknown> | null;
  expiresAt: number;
};

const dropExpired = statement(["userId", "key", "now"], (db, $) => {
  const k = db.tables.idempotencyKeys;
  return db.delete(k).where(and(eq(k.userId, $.userId), eq(k.key, $.key), lte(k.expiresAt, $.now)));
});

const insertKey = statement(["userId", "key", "requestHash", "turnId", "response", "expiresAt"], (db, $) =>
  db.insert(db.tables.idempotencyKeys).values({
    userId: $.userId,
    key: $.key,
    requestHash: $.requestHash,
    turnId: $.turnId,
    response: $.response,
    expiresAt: $.expiresAt,
  }),
);

/** Takes a key in the batch of its work; one that is taken makes the batch a `Conflict`. */
export const keySteps = (
  key: NewKey | null,
  { turnId, now }: { turnId: string | null; now: number },
): Step<unknown>[] => (key ? [step(dropExpired, { ...key, now }), step(insertKey, { ...key, turnId })] : []);

/** A guard: gives a key to another turn than the one that failed, unless somebody else was faster. */
const swapTurn = statement(["userId", "key", "turnId", "by"], (db, $) => {
  const k = db.tables.idempotencyKeys;
  return db
    .update(k)
    .set({ turnId: $.by })
    .where(and(eq(k.userId, $.userId), eq(k.key, $.key), eq(k.turnId, $.turnId)))
    .returning({ key: k.key });
});

export type KeySwap = { userId: string; key: string; turnId: string };

export const swapSteps = (swap: KeySwap | null, by: string): Step<unknown>[] =>
  swap ? [guard(swapTurn, { ...swap, by })] : [];
