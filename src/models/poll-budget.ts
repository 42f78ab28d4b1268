import { sleep } from "../core/time.ts";

/**
 * Requests a second. RunPod's documents allow 2,000 polls in 10 s an endpoint, and no more than 400 at once; other
 * instances may poll the same endpoint, so a refusal halves what is left.
 */
const MOST_A_SECOND = 150;
const LEAST_A_SECOND = 20;
/** Refusals within this time, in milliseconds, are one: they come in a burst. */
const BURST_MS = 1_000;
/** What a second without a refusal gives back. */
const REGAINED_A_SECOND = 10;
/** After a refusal that does not say how long to wait, in milliseconds. */
const PAUSE_MS = 1_000;

export type PollBudget = ReturnType<typeof createPollBudget>;

/** Shares the polls that one endpoint allows among all the jobs that are followed in this process, first come first served. */
export function createPollBudget(clock: () => number = () => performance.now()) {
  let rate = MOST_A_SECOND;
  let rateAt = clock();
  /** When the next request may go out. */
  let next = 0;
  /** Until then nobody may, whatever was promised before. */
  let pausedUntil = 0;
  let reducedAt = Number.NEGATIVE_INFINITY;

  function currentRate(): number {
    const now = clock();
    rate = Math.min(MOST_A_SECOND, rate + ((now - rateAt) / 1_000) * REGAINED_A_SECOND);
    rateAt = now;
    return rate;
  }

  /** Takes the next place in the order of requests; gives the milliseconds until it comes up. */
  function reserve(): number {
    const now = clock();
    const mine = Math.max(next, pausedUntil, now);
    next = mine + 1_000 / currentRate();
    return mine - now;
  }

  return {
    reserve,
    /** Resolves when it is this request's turn, or `signal` aborts. */
    async turn(signal: AbortSignal): Promise<void> {
      do {
        const waitMs = reserve();
        if (waitMs > 0) await sleep(waitMs, signal);
      } while (!signal.aborted && clock() < pausedUntil); // somebody was refused meanwhile
    },
    /** A request was refused: all wait, and fewer are sent from now on. */
    refused(retryAfterMs: number | null): void {
      const now = clock();
      pausedUntil = Math.max(pausedUntil, now + (retryAfterMs ?? PAUSE_MS));
      if (now - reducedAt < BURST_MS) return;
      reducedAt = now;
      rate = Math.max(LEAST_A_SECOND, currentRate() / 2);
    },
    /** Requests a second, as of now. */
    rate: currentRate,
  };
}
