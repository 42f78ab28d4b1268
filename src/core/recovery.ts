import { and, eq, inArray, lt, or, sql } from "drizzle-orm";
import { guard, isConflict, statement, step } from "../db/db.ts";
import type { Turn } from "../db/tables.ts";
import { closeOnConversation } from "../db/turn-writes.ts";
import { AppError } from "./errors.ts";
import { LEASE_MS, type TurnDeps } from "./live.ts";
import type { Plan } from "./model.ts";
import { previewOf } from "./text.ts";
import { startTurn } from "./turns.ts";

/** How often leases are renewed, and lost turns looked for, in milliseconds. */
const TICK_MS = 3_000;

/** Keeps this process's leases and closes what others lost, now and every few seconds. Gives what stops it. */
export async function startRecovery(deps: TurnDeps): Promise<() => void> {
  const tick = async () => {
    await renewLeases(deps);
    await sweepTurns(deps);
  };
  await tick();
  let busy = false;
  const timer = setInterval(() => {
    if (busy) return;
    busy = true;
    tick()
      .catch((error) => deps.log.error({ err: error }, "leases could not be kept"))
      .finally(() => {
        busy = false;
      });
  }, TICK_MS);
  timer.unref();
  return () => clearInterval(timer);
}

/**
 * Renews the leases of the turns that this process runs or holds in line, and stops those that it ran and that were ended
 * by somebody else. One that was taken over while it waited is another's to renew.
 */
export async function renewLeases({ db, live }: TurnDeps): Promise<void> {
  const running = [...live.holding];
  const waiting = [...live.turns.keys()].filter((id) => !live.holding.has(id));
  if (running.length + waiting.length === 0) return;
  const t = db.tables.turns;
  const kept = await db
    .update(t)
    .set({ leaseUntil: sql`${db.now} + ${LEASE_MS}` })
    .where(
      or(and(inArray(t.id, running), eq(t.status, "in_progress")), and(inArray(t.id, waiting), eq(t.status, "queued"))),
    )
    .returning({ id: t.id });
  const open = new Set(kept.map((turn) => turn.id));
  for (const id of running) if (!open.has(id)) live.turns.get(id)?.stop.abort();
}

const selectLost = statement([], (db) => {
  const { turns: t, messages: m, conversations: c } = db.tables;
  return db
    .select({ turn: t, seq: m.seq, content: m.content, systemPrompt: c.systemPrompt })
    .from(t)
    .innerJoin(m, eq(m.id, t.messageId))
    .innerJoin(c, eq(c.id, t.conversationId))
    .where(and(sql`${t.status} in ('queued', 'in_progress')`, lt(t.leaseUntil, db.now)));
});

type Lost = { turn: Turn; seq: number; content: string; systemPrompt: string | null };

/** Closes every running turn whose lease has run out, its text kept, and takes over those that wait in line. */
export async function sweepTurns(deps: TurnDeps): Promise<void> {
  for (const lost of await deps.db.all(selectLost, {})) {
    try {
      await (lost.turn.status === "queued" ? adopt(deps, lost) : close(deps, lost));
    } catch (error) {
      if (isConflict(error)) continue; // another instance was faster
      deps.log.error({ err: error, turn_id: lost.turn.id }, "a lost turn could not be closed");
    }
  }
}

const takeLease = statement(["turnId", "leaseMs"], (db, $) => {
  const t = db.tables.turns;
  return db
    .update(t)
    .set({ leaseUntil: sql`${db.now} + ${$.leaseMs}` })
    .where(and(eq(t.id, $.turnId), eq(t.status, "queued"), lt(t.leaseUntil, db.now)))
    .returning({ id: t.id });
});

async function adopt(deps: TurnDeps, { turn, seq, systemPrompt }: Lost): Promise<void> {
  const { id: turnId, conversationId, userMessageId: questionId, messageId: answerId } = turn;
  if (deps.live.turns.has(turnId)) return;
  const plan = planAgain(deps, turn.model);
  await deps.db.batch([guard(takeLease, { turnId, leaseMs: LEASE_MS })]);
  startTurn(deps, {
    turnId,
    conversationId,
    questionId,
    answerId,
    seq,
    systemPrompt,
    plan,
    wanted: 1,
    status: "queued",
  });
}

/** The model that was asked for may no longer be configured; the question is answered all the same. */
function planAgain({ models }: TurnDeps, model: string): Plan {
  try {
    return models.plan(model);
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    return models.plan(undefined);
  }
}

const closeLost = statement(["turnId", "status", "error", "now"], (db, $) => {
  const t = db.tables.turns;
  return db
    .update(t)
    .set({ status: $.status, error: $.error, restarts: sql`${t.restarts} + 1`, leaseUntil: null, completedAt: $.now })
    .where(and(eq(t.id, $.turnId), eq(t.status, "in_progress"), lt(t.leaseUntil, db.now)))
    .returning({ id: t.id });
});

const closeAnswer = statement(["conversationId", "answerId", "status"], (db, $) => {
  const { conversations: c, messages: m } = db.tables;
  return db
    .update(m)
    .set({ status: $.status, rev: sql`(select ${c.rev} from ${c} where ${c.id} = ${$.conversationId})` })
    .where(eq(m.id, $.answerId));
});

async function close({ db, clock }: TurnDeps, { turn, seq, content }: Lost): Promise<void> {
  const { id: turnId, conversationId, messageId: answerId } = turn;
  const status = content === "" ? "failed" : "incomplete";
  const error = { code: "provider_failed", detail: "The service stopped while it answered." };
  const now = clock();
  await db.batch([
    guard(closeOnConversation, {
      conversationId,
      listed: content === "" ? 0 : 1,
      alternatives: 0,
      seq,
      preview: previewOf(content),
      now,
    }),
    guard(closeLost, { turnId, status, error, now }),
    step(closeAnswer, { conversationId, answerId, status }),
  ]);
}
