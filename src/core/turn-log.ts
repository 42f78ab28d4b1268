import type { Attempt, Turn } from "../db/tables.ts";
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

/** One line for each turn that ended; a warning where it failed, with what each target did. `ms` is what it took in all. */
export function logEnd(log: TurnLog, turn: End, { ms, trace }: { ms: number; trace?: Trace | undefined }): void {
  const { status: outcome, target, usage, error, attempts } = turn;
  const fields = {
    ...namesOf(turn, trace),
    ...{ target, outcome },
    ...(error && { code: error.code }),
    ...(usage && { input_tokens: usage.input_tokens, output_tokens: usage.output_tokens }),
    ms: Math.round(ms * 10) / 10,
  };
  if (outcome === "completed" || error?.code === "turn_cancelled") log.info(fields, "turn ended");
  else log.warn({ ...fields, attempts: attempts?.map(shortly) ?? [] }, "turn ended");
}

const shortly = ({ target, outcome, status, ms }: Attempt) => ({ target, outcome, status, ms });
