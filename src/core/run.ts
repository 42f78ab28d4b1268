import { and, eq, sql } from "drizzle-orm";
import { guard, isConflict, statement } from "../db/db.ts";
import type { Alternative } from "../db/turn-writes.ts";
import { buildPrompt, messageTokens, promptBudget, type Shown } from "./context.ts";
import { newId } from "./id.ts";
import { type Ended, endedFrom, LEASE_MS, type LiveTurn, type TurnDeps, turnAhead } from "./live.ts";
import { readContext } from "./messages.ts";
import type { DispatchEvent, TurnError, Usage } from "./model.ts";
import { previewOf } from "./text.ts";
import { aborted, sleep } from "./time.ts";

/** A turn, as far as it need not be live to be run. */
type Stored = Omit<LiveTurn, "stop" | "ended">;

type Last = Extract<DispatchEvent, { type: "end" | "failed" }>;

/** How often a turn in line looks whether it is its time, where nothing tells it, in milliseconds. */
const SLOT_POLL_MS = 500;

const claimSlot = statement(["turnId", "conversationId", "seq", "leaseMs"], (db, $) => {
  const { turns: t, messages: m } = db.tables;
  const others = (condition: ReturnType<typeof sql>) =>
    sql`not exists (select 1 from turns o join ${m} on ${m.id} = o.message_id where o.conversation_id = ${$.conversationId} and ${condition})`;
  return db
    .update(t)
    .set({ status: "in_progress", leaseUntil: sql`${db.now} + ${$.leaseMs}` })
    .where(
      and(
        eq(t.id, $.turnId),
        eq(t.status, "queued"),
        others(sql`o.status = 'in_progress'`),
        others(sql`o.status = 'queued' and ${m.seq} < ${$.seq}`),
      ),
    )
    .returning({ id: t.id });
});

/**
 * Resolves with null once the turn holds its conversation's slot, in the order of storage also across instances; or with
 * its end, where it was ended while it waited. After `signal` it waits no longer, and the turn stays in line.
 */
export async function waitForSlot(deps: TurnDeps, turn: Stored, signal: AbortSignal): Promise<Ended | null> {
  const stopped = aborted(signal);
  for (;;) {
    const ahead = turnAhead(deps.live, turn);
    if (ahead) await Promise.race([Promise.allSettled([ahead.ended]), stopped]);
    if (!signal.aborted && (await takeSlot(deps, turn))) return null;
    const { row, ended } = await readEnd(deps, turn);
    // In progress without us: somebody took it over while this process slept. Its end is waited for.
    const isOpen = row.status === "queued" || row.status === "in_progress";
    if (!isOpen) return ended;
    if (signal.aborted) return { ...ended, error: leftInLine };
    if (!turnAhead(deps.live, turn)) await sleep(SLOT_POLL_MS, signal);
  }
}

async function takeSlot(deps: TurnDeps, turn: Stored): Promise<boolean> {
  try {
    await deps.db.batch([guard(claimSlot, { ...turn, leaseMs: LEASE_MS })]);
    return true;
  } catch (error) {
    if (!isConflict(error)) throw error;
    return false;
  }
}

const leftInLine: TurnError = {
  code: "provider_unavailable",
  detail: "The service is stopping; the message is stored and is answered when it is back.",
};

/** Answers a turn that is in progress and stores how it ended. Aborting `signal` stops the provider; the text is kept. */
export async function runTurn(deps: TurnDeps, turn: Stored, signal: AbortSignal): Promise<Ended> {
  const answers = await answer(deps, turn, signal);
  const { content, last } = answers.find((one) => one.last.type === "end") ?? answers[0];
  const ended: Ended = {
    status: last.type === "end" ? "completed" : content === "" ? "failed" : "incomplete",
    content,
    target: last.target,
    error: last.type === "failed" ? last.error : null,
    attempts: answers.flatMap((one) => one.last.attempts),
    alternatives: answers.filter((one) => one.last !== last).flatMap(asAlternative),
    completedAt: deps.clock(),
  };
  try {
    await deps.db.turnWrites.finish({
      ...turn,
      ...ended,
      preview: content === "" ? null : previewOf(content),
      finishReason: last.type === "end" ? last.finishReason : null,
      usage: sumUsage(answers.map((one) => one.last.usage)),
      context: last.context,
      now: ended.completedAt,
    });
  } catch (error) {
    if (!isConflict(error)) throw error;
    return (await readEnd(deps, turn)).ended; // ended by somebody else meanwhile: what is stored is the truth
  }
  return ended;
}

type Answered = { content: string; last: Last };

function asAlternative({ content, last }: Answered): Alternative[] {
  return last.type === "end" && last.target ? [{ id: newId(), content, target: last.target }] : [];
}

function sumUsage(all: readonly (Usage | null)[]): Usage | null {
  const [first, ...rest] = all.filter((usage) => usage !== null);
  if (!first) return null;
  return rest.reduce(
    (sum, usage) => ({
      input_tokens: sum.input_tokens + usage.input_tokens,
      output_tokens: sum.output_tokens + usage.output_tokens,
      estimated: sum.estimated || usage.estimated,
    }),
    first,
  );
}

async function answer(deps: TurnDeps, turn: Stored, signal: AbortSignal): Promise<[Answered, ...Answered[]]> {
  const history = await readContext(deps.db, {
    conversationId: turn.conversationId,
    before: turn.seq,
    enough: (read) => tokensOf(read) > promptBudget(turn.plan.window),
  });
  const prompt = (window: number) =>
    buildPrompt(history.newestFirst, {
      systemPrompt: turn.systemPrompt ?? deps.systemPrompt,
      window,
      older: history.older,
    });
  const once = () => listen(deps.models.dispatch(turn.plan, prompt, signal));
  const more = Array.from({ length: turn.wanted - 1 }, once);
  return Promise.all([once(), ...more]);
}

async function listen(events: AsyncIterable<DispatchEvent>): Promise<Answered> {
  let content = "";
  for await (const event of events) {
    if (event.type === "delta") content += event.text;
    else if (event.type === "restart") content = "";
    else if (event.type !== "status") return { content, last: event };
  }
  throw new Error("a dispatch ended without saying how");
}

const tokensOf = (read: readonly Shown[]) => read.reduce((sum, message) => sum + messageTokens(message.content), 0);

const selectEnd = statement(["turnId"], (db, $) => {
  const { turns: t, messages: m } = db.tables;
  return db
    .select({ turn: t, content: m.content })
    .from(t)
    .leftJoin(m, eq(m.id, t.messageId))
    .where(eq(t.id, $.turnId));
});

async function readEnd(deps: TurnDeps, { turnId }: Stored) {
  const [row] = await deps.db.all(selectEnd, { turnId });
  if (!row) throw new Error("a turn has left the ledger");
  return { row: row.turn, ended: endedFrom(row.turn, row.content) };
}
