/** How patient one is with somebody who is told; times in milliseconds. */
export type Pace = {
  /** Conversations that are told of at once. */
  readonly atOnce: number;
  /** What one call may take until it is answered. */
  readonly timeoutMs: number;
  /** A claim that is held for so long is taken for lost; longer than a call may take. */
  readonly leaseMs: number;
  /** How often what nobody has told is looked for. */
  readonly lookMs: number;
  /** Between the tries of one conversation: from the first to the last it doubles. */
  readonly firstRetryMs: number;
  readonly lastRetryMs: number;
  /** After so many failures in a row, whatever they were about, the receiver is tried with one conversation at a time, and a pause. */
  readonly downAfter: number;
  /** The longest of these pauses. */
  readonly lastPauseMs: number;
};

export const PACE: Pace = {
  atOnce: 8,
  timeoutMs: 10_000,
  leaseMs: 15_000,
  lookMs: 1_000,
  firstRetryMs: 1_000,
  lastRetryMs: 900_000,
  downAfter: 8,
  lastPauseMs: 30_000,
};

/** Tries of many conversations that failed together are not to come again together. */
const JITTER = 0.25;

type Tried = { attempts: number; retryAfterMs: number | null; random: number };

/** When to try again after so many failed attempts; what the receiver asks for counts where it is longer, up to the last. */
export function retryDelay({ attempts, retryAfterMs, random }: Tried, { firstRetryMs, lastRetryMs }: Pace): number {
  const doubled = Math.min(lastRetryMs, firstRetryMs * 2 ** (attempts - 1));
  const own = doubled * (1 - JITTER + 2 * JITTER * random);
  return Math.round(Math.max(own, Math.min(retryAfterMs ?? 0, lastRetryMs)));
}

/** What is known of the receiver from what it has answered. */
export type Receiver = {
  /** How many conversations it may be told of at once; 0 while it is left alone. */
  room(): number;
  took(): void;
  failed(retryAfterMs: number | null): void;
  /** It wants nothing more, for as long as this process lives. */
  leave(): void;
};

/** One that is down is asked now and then, about one conversation at a time, and no more often the more conversations wait. */
export function createReceiver(pace: Pace, clock: () => number = () => performance.now()): Receiver {
  let failures = 0;
  let quietUntil = 0;
  return {
    room: () => (clock() < quietUntil ? 0 : failures < pace.downAfter ? pace.atOnce : 1),
    took() {
      failures = 0;
    },
    failed(retryAfterMs) {
      failures++;
      const over = failures - pace.downAfter;
      const pause = over < 0 ? 0 : Math.min(pace.lastPauseMs, pace.firstRetryMs * 2 ** over);
      quietUntil = Math.max(quietUntil, clock() + Math.max(pause, Math.min(retryAfterMs ?? 0, pace.lastRetryMs)));
    },
    leave() {
      quietUntil = Number.POSITIVE_INFINITY;
    },
  };
}
