import { and, eq, type SQL, sql } from "drizzle-orm";
import { guard, isConflict, type Source, statement, step } from "../db/db.ts";
import type { Turn, TurnOptions } from "../db/tables.ts";
import { closeOnConversation, settleSteps } from "../db/turn-finish.ts";
import { AppError } from "./errors.ts";
import { startTurn } from "./launch.ts";
import { CANCELLED, LEASE_MS, LOST, type TurnDeps } from "./live.ts";
import type { Plan } from "./model.ts";
import { refOf } from "./rows.ts";
import { previewOf } from "./text.ts";
import { logEnd } from "./turn-log.ts";

/** What a process does about the turns of others that have died. No caller stands behind these statements, so no scope does. */

/**
 * Whether a turn's lease has run out. One that ends later than any lease can was written by a clock that has been set back
 * since: it has run out, too.
 */
function hasRunOut({ tables, now }: Source): SQL {
  const until = tables.turns.leaseUntil;
  return sql`(${until} < ${now} or ${until} > ${now} + cast(${2 * LEASE_MS} as integer))`;
}

const endLeases = statement([], (db) => {
  const t = db.tables.turns;
  return db.update(t).set({ leaseUntil: 0 }).where(sql`status in ('queued', 'in_progress')`);
});

/** Ends every lease, where this process is the only one and has just started: what is open was another's, which has ended. */
export async function endLeasesOfTheDead({ db }: TurnDeps): Promise<void> {
  if (db.isAlone) await db.batch([step(endLeases, {})]);
}

const selectLost = statement([], (db) => {
  const { turns: t, messages: m, conversations: c } = db.tables;
  const questionSeq = sql<number>`(select q.seq from messages q where q.id = ${t.userMessageId})`;
  return db
    .select({ turn: t, seq: m.seq, questionSeq, content: m.content, systemPrompt: c.systemPrompt })
    .from(t)
    .innerJoin(m, eq(m.id, t.messageId))
    .innerJoin(c, eq(c.id, t.conversationId))
    .where(and(sql`${t.status} in ('queued', 'in_progress')`, hasRunOut(db)));
});

type Lost = { turn: Turn; seq: number; questionSeq: number; content: string; systemPrompt: string | null };

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
    .where(and(eq(t.id, $.turnId), eq(t.status, "queued"), hasRunOut(db)))
    .returning({ id: t.id });
});

async function adopt(deps: TurnDeps, { turn, seq, questionSeq, systemPrompt }: Lost): Promise<void> {
  const ref = refOf(turn);
  if (deps.live.turns.has(turn.id)) return;
  const { options } = turn;
  const since = performance.now();
  const plan = planAgain(deps, turn.model, options); // its request's trace has died with its process
  await deps.db.batch([guard(takeLease, { turnId: turn.id, leaseMs: LEASE_MS })]);
  const { createdAt, requestId } = turn;
  const place = { seq, before: questionSeq + 1, basis: null };
  const prompt = options?.systemPrompt ?? systemPrompt;
  startTurn(deps, {
    ...ref,
    ...place,
    systemPrompt: prompt,
    plan,
    since,
    createdAt,
    requestId,
    wanted: 1,
    status: "queued",
  });
}

/** The model that was asked for may no longer be configured; the question is answered all the same. */
function planAgain({ models }: TurnDeps, model: string, options: TurnOptions | null): Plan {
  try {
    return models.plan(model, options ?? undefined);
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    return models.plan(undefined, options ?? undefined);
  }
}

const closeLost = statement(["turnId", "status", "error", "now"], (db, $) => {
  const t = db.tables.turns;
  return db
    .update(t)
    .set({ status: $.status, error: $.error, restarts: sql`${t.restarts} + 1`, leaseUntil: null, completedAt: $.now })
    .where(and(eq(t.id, $.turnId), eq(t.status, "in_progress"), hasRunOut(db)))
    .returning({ id: t.id });
});

const closeAnswer = statement(["conversationId", "answerId", "status"], (db, $) => {
  const { conversations: c, messages: m } = db.tables;
  return db
    .update(m)
    .set({ status: $.status, rev: sql`(select ${c.rev} from ${c} where ${c.id} = ${$.conversationId})` })
    .where(eq(m.id, $.answerId));
});

async function close({ db, clock, log }: TurnDeps, { turn, seq, questionSeq, content }: Lost): Promise<void> {
  const { id: turnId, conversationId, messageId: answerId, userMessageId: questionId } = turn;
  const status = content === "" ? "failed" : "incomplete";
  const error = turn.cancelRequestedAt === null ? LOST : CANCELLED; // no key runs again what somebody has stopped
  const now = clock();
  const again = seq !== questionSeq + 1;
  const preview = previewOf(content);
  await db.batch([
    guard(closeOnConversation, {
      conversationId,
      listed: content === "" || again ? 0 : 1,
      alternatives: 0,
      seq,
      preview,
      now,
    }),
    guard(closeLost, { turnId, status, error, now }),
    step(closeAnswer, { conversationId, answerId, status }),
    ...(again ? settleSteps({ conversationId, questionId, answerId, seq, status, preview, now }) : []),
  ]);
  logEnd(log, { ...turn, status, error }, { ms: now - turn.createdAt });
}
