import { isConflict } from "../db/db.ts";
import type { Alternative, FinishTurn } from "../db/turn-writes.ts";
import { buildPrompt } from "./context.ts";
import { newId } from "./id.ts";
import { type Ended, LEASE_MS, type LiveTurn, type TurnDeps, type TurnState } from "./live.ts";
import type { DispatchEvent, TurnError, Usage } from "./model.ts";
import type { Standing } from "./progress.ts";
import { readEnd, recordUse } from "./running.ts";
import { previewOf } from "./text.ts";
import { sleep } from "./time.ts";
import { namesOf } from "./turn-log.ts";
import { keepWindow, readWindow, type Window } from "./window.ts";

/** A turn that is about to be run. */
export type Runnable = Omit<LiveTurn, "ended">;

type Last = Extract<DispatchEvent, { type: "end" | "failed" }>;

/** Answers a turn that is in progress and stores how it ended. Once it is stopped, what there is of its text is kept. */
export async function runTurn(deps: TurnDeps, turn: Runnable): Promise<Ended> {
  const window = await readWindow(deps, turn);
  const answers = await answer(deps, turn, window);
  turn.spent.waitedMs += Math.max(...answers.map((one) => one.last.waitedMs));
  const { content, last } = answers.find((one) => one.last.type === "end") ?? answers[0];
  const alternatives = answers.filter((one) => one.last !== last).flatMap(asAlternative);
  const state: TurnState = {
    id: turn.turnId,
    conversationId: turn.conversationId,
    userMessageId: turn.questionId,
    messageId: turn.answerId,
    model: turn.model,
    status: last.type === "end" ? "completed" : content === "" ? "failed" : "incomplete",
    target: last.target,
    restarts: turn.progress.standing.n,
    finishReason: last.type === "end" ? last.finishReason : null,
    usage: sumUsage(answers.map((one) => one.last.usage)),
    cost: sumCost(answers.map((one) => one.last)),
    attempts: answers.flatMap((one) => one.last.attempts),
    error: last.type === "failed" ? errorOf(last.error, turn.stop.signal) : null,
    context: last.context,
    requestId: turn.requestId,
    createdAt: turn.createdAt,
    completedAt: deps.clock(),
  };
  return store(deps, turn, { window, ended: { turn: state, content, alternatives } });
}

/** Who stopped it says why. */
const errorOf = (error: TurnError, { aborted, reason }: AbortSignal): TurnError =>
  aborted && error.code === "turn_cancelled" ? reason : error;

type Answered = { window: Window; ended: Ended };

async function store(deps: TurnDeps, turn: Runnable, { window, ended }: Answered): Promise<Ended> {
  const { turn: state, content, alternatives } = ended;
  const now = state.completedAt ?? deps.clock();
  const preview = content === "" ? null : previewOf(content);
  const again = turn.seq !== turn.before;
  const { status } = state;
  if (status === "queued" || status === "in_progress") throw new Error("a turn ended without an end");
  try {
    const rev = await patiently(deps, {
      ...turn,
      ...state,
      attempts: state.attempts ?? [],
      status,
      content,
      preview,
      again,
      alternatives,
      now,
    });
    if (deps.cache) keepWindow(deps.cache, turn, { window, ended, rev });
    return ended;
  } catch (error) {
    if (!isConflict(error)) throw error;
    await recordUse(deps.db, state);
    return readEnd(deps.db, turn.turnId); // ended by somebody else meanwhile: what is stored is the truth
  }
}

const STORE_PAUSE_MS = 250;
/** The same where the process is about to end: the next one closes the turn with the text so far. */
const LEAVING_MS = 1_000;

/** An answer is worth some patience with the database; once its lease is out, others close the turn. Gives its revision. */
async function patiently(deps: TurnDeps, input: FinishTurn & Pick<Runnable, "plan" | "requestId">): Promise<number> {
  const started = performance.now();
  for (;;) {
    try {
      return (await deps.db.turnWrites.finish(input)).rev;
    } catch (error) {
      const patience = deps.live.leaving ? LEAVING_MS : LEASE_MS;
      if (isConflict(error) || performance.now() - started > patience) throw error;
      const names = namesOf({ ...input, id: input.turnId }, input.plan.trace);
      deps.log.error({ err: error, ...names }, "an answer could not be stored yet");
    }
    await sleep(STORE_PAUSE_MS);
  }
}

type Heard = { content: string; last: Last };

function asAlternative({ content, last }: Heard): Alternative[] {
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

/** null where one of those that used tokens has no price. */
function sumCost(all: readonly Last[]): number | null {
  const costs = all.filter(({ usage }) => usage !== null).map(({ cost }) => cost);
  if (costs.length === 0) return null;
  return costs.reduce((sum, cost) => (sum === null || cost === null ? null : sum + cost), 0);
}

async function answer(deps: TurnDeps, turn: Runnable, { newestFirst, older }: Window): Promise<[Heard, ...Heard[]]> {
  const systemPrompt = turn.systemPrompt ?? deps.systemPrompt;
  const prompt = (window: number) => buildPrompt(newestFirst, { systemPrompt, window, older });
  const once = () => deps.models.dispatch(turn.plan, prompt, turn.stop.signal);
  // Of several answers the first whole one is shown, so none is shown before all have come.
  if (turn.wanted > 1) return Promise.all([listen(once()), ...times(turn.wanted - 1, () => listen(once()))]);
  return [await listen(once(), turn.progress.change)];
}

const times = <T>(length: number, make: () => T): T[] => Array.from({ length }, make);

/** Hears one answer to its end; `tell` is told how far it has come. */
async function listen(
  events: AsyncIterable<DispatchEvent>,
  tell: (change: Partial<Standing>) => void = () => {},
): Promise<Heard> {
  let content = "";
  let n = 0;
  for await (const event of events) {
    if (event.type === "delta") {
      content += event.text;
      tell({ text: content, status: null });
    } else if (event.type === "restart") {
      content = "";
      n += 1;
      tell({ n, text: "", reason: event.reason });
    } else if (event.type === "status") {
      tell({ status: event.status });
    } else {
      return { content, last: event };
    }
  }
  throw new Error("a dispatch ended without saying how");
}
