import type { Turn } from "../db/tables.ts";
import type { Attempt } from "./model.ts";

/** Who is told what happened, to count it. It stands on the path of every turn: it is quick, and throws nothing. */
export type Observe = {
  /** A call to a target is over; `asked` is its name in the plan. */
  attempt(attempt: Attempt & { asked: string; first_chunk_ms: number | null }): void;
  /** A turn of this process has ended. `ownMs` is what it took without its time in line and its waits for providers. */
  turn(turn: Pick<Turn, "model" | "target" | "status" | "error">, ownMs: number): void;
};
