import type { Heard } from "../tests/support/stream-frames.ts";

/** One message, from its first attempt to its answer. */
export type Sent = {
  readonly text: string;
  readonly mark: string;
  readonly path: string;
  readonly body: object;
  readonly key: string;
  /** Somebody may have stopped its turn. */
  mayBeCancelled: boolean;
  /** The service has said that it has it: by a 200, a `turn.started` or a turn's id. */
  acknowledged: boolean;
  answered: { turnId: string; text: string; at: number } | undefined;
};

/** What the clients know: the other side of what the database holds. */
export type Ledger = {
  sent: Sent[];
  /** What readers that came to the end of a stream had put together. */
  read: { turnId: string; text: string; status: string }[];
  /** How often a stream broke off and was gone on with. */
  resumed: number;
  /** Answers that the contract has no room for. */
  unexpected: string[];
};

export const createLedger = (): Ledger => ({ sent: [], read: [], resumed: 0, unexpected: [] });

export function acknowledge(sent: Sent, turnId: string | undefined): void {
  if (turnId !== undefined) sent.acknowledged = true;
}

/** A reader has come to the end of a stream. */
export function finishReading(ledger: Ledger, sent: Sent, { turnId, text, end }: Heard): void {
  const id = turnId ?? end?.data.id;
  ledger.read.push({ turnId: id, text, status: end?.data.status });
  if (end?.event === "turn.completed") sent.answered ??= { turnId: id, text, at: performance.now() };
}
