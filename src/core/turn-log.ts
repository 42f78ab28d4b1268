import type { Attempt, Turn } from "../db/tables.ts";
import type { Outcome } from "./model.ts";
import { idsOf, type Trace } from "./trace.ts";

type Line = (fields: object, message: string) => void;

/** Where lines about turns go. */
export type TurnLog = { info: Line; warn: Line; error: Line };

type Named = Pick<Turn, "id" | "conversationId" | "requestId">;
type End = Named & Pick<Turn, "status" | "target" | "usage" | "attempts" | "error">;

/** What every line about a turn says, so that it is found by its request, its conversation and its trace. */
export const namesOf = ({ id, conversationId, requestId }: Named, trace?: Trace) => ({
  request_id: requestId,
  turn_id: id,
  conversation_id: conversationId,
  ...idsOf(trace),
});

/** What only the operator can mend, even where another target answered instead. */
const TO_MEND: ReadonlySet<string> = new Set<Outcome>(["auth", "quota_exhausted", "model_gone"]);

/**
 * One line for each turn that ended, with what each target did if it took more than one call; a warning where it failed,
 * or where a target asks for the operator. `ms` is what it took in all.
 */
export function logEnd(log: TurnLog, turn: End, { ms, trace }: { ms: number; trace?: Trace | undefined }): void {
  const { status: outcome, target, usage, error, attempts } = turn;
  const fields = {
    ...namesOf(turn, trace),
    ...{ target, outcome },
    ...(error && { code: error.code }),
    ...(usage && { input_tokens: usage.input_tokens, output_tokens: usage.output_tokens }),
    ms: Math.round(ms * 10) / 10,
  };
  const isWell = outcome === "completed" || error?.code === "turn_cancelled";
  const tried = attempts?.map(shortly) ?? [];
  const line = isWell && tried.length < 2 ? fields : { ...fields, attempts: tried };
  if (isWell && !tried.some((attempt) => TO_MEND.has(attempt.outcome))) log.info(line, "turn ended");
  else log.warn(line, "turn ended");
}

const shortly = ({ target, outcome, status, ms }: Attempt) => ({ target, outcome, status, ms });
