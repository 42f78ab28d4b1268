import type { FailureKind, Outcome } from "../core/model.ts";

export type BreakerState = "closed" | "open" | "half_open";

/** Leave to make one call. `end` is told how it went, once; `speaks` that its text has begun. */
export type Pass = { speaks(): void; end(outcome: Outcome, retryAfterMs: number | null, status?: number | null): void };

export type Breaker = ReturnType<typeof createBreaker>;

const FAILURES_MOST = 3;
const COOLDOWN_MS = 1_000;
/** So short that a target that is well again is asked within five seconds, by one turn at a time. */
const COOLDOWN_MOST_MS = 4_000;
/** A vendor that names a longer Retry-After is asked again all the same. */
const RETRY_AFTER_MOST_MS = 300_000;
/** While a probe is out, the others look again after this, in milliseconds. */
const PROBE_LOOK_MS = 100;
/** Of targets that only requests name: whoever makes names up must not push out a target that is configured. */
const UNLISTED_MOST = 1_000;

/** What says that a target is not well. Other failures are the request's, or the caller's. */
const AGAINST: ReadonlySet<Outcome> = new Set<FailureKind>([
  "overloaded",
  "connect",
  "rate_limited",
  "quota_exhausted",
  "auth",
  "model_gone",
  "timeout_headers",
  "timeout_first_token",
  "timeout_idle",
  "stream_cut",
  "stream_incomplete",
  "answer_too_large",
]);
const isAgainst = (outcome: Outcome): outcome is FailureKind => AGAINST.has(outcome);
/** What says nothing at all. */
const NEUTRAL = new Set<Outcome>(["cancelled", "timeout_total"]);

type Circuit = {
  failures: number;
  cooldownMs: number;
  openUntil: number | null;
  probing: boolean;
  /** The last failure that counted against it, and when that was. */
  last: { outcome: FailureKind; status: number | null; at: number } | null;
};

/**
 * Keeps turns away from targets that fail. A circuit opens after three failures in a row, for a cooldown that doubles up
 * to 4 s, or after a 429 for its Retry-After; then it lets one probe through, whose first text closes it. The circuits of
 * `configured` targets are never given up for others.
 */
export function createBreaker(clock: () => number, configured: ReadonlySet<string>) {
  const listed = new Map<string, Circuit>();
  const unlisted = new Map<string, Circuit>();
  const circuitsWith = (target: string) => (configured.has(target) ? listed : unlisted);
  const circuits = {
    get: (target: string) => circuitsWith(target).get(target),
    delete: (target: string) => circuitsWith(target).delete(target),
  };

  /** Milliseconds until asking for a pass makes sense; 0 where there is one. */
  function waitMs(target: string): number {
    const circuit = circuits.get(target);
    if (!circuit || circuit.openUntil === null) return 0;
    if (circuit.probing) return PROBE_LOOK_MS;
    return Math.max(0, circuit.openUntil - clock());
  }

  function enter(target: string): Pass | undefined {
    if (waitMs(target) > 0) return undefined;
    const circuit = circuits.get(target);
    const isProbe = circuit !== undefined && circuit.openUntil !== null;
    if (isProbe) circuit.probing = true;
    return passFor(target, isProbe);
  }

  function passFor(target: string, isProbe: boolean): Pass {
    let isOut = isProbe;
    return {
      speaks() {
        const circuit = isOut && circuits.get(target);
        isOut = false;
        if (circuit) close(circuit);
      },
      end(outcome, retryAfterMs, status = null) {
        const circuit = isOut && circuits.get(target);
        if (circuit) circuit.probing = false;
        if (isAgainst(outcome)) count(target, outcome, { isProbe, retryAfterMs, status });
        else if (!NEUTRAL.has(outcome)) circuits.delete(target);
      },
    };
  }

  type Counted = { isProbe: boolean; retryAfterMs: number | null; status: number | null };

  function count(target: string, outcome: FailureKind, { isProbe, retryAfterMs, status }: Counted): void {
    const circuit = circuits.get(target) ?? add(target);
    const limitedMs = outcome === "rate_limited" ? retryAfterMs : null;
    circuit.failures++;
    circuit.last = { outcome, status, at: clock() };
    if (limitedMs !== null) {
      const until = clock() + Math.min(limitedMs, RETRY_AFTER_MOST_MS);
      circuit.openUntil = Math.max(until, circuit.openUntil ?? 0);
      return;
    }
    // A call that was under way when the circuit opened tells nothing new.
    const isNews = circuit.openUntil === null || isProbe;
    if (circuit.failures < FAILURES_MOST || !isNews) return;
    circuit.cooldownMs = Math.min(COOLDOWN_MOST_MS, circuit.cooldownMs * 2 || COOLDOWN_MS);
    circuit.openUntil = clock() + circuit.cooldownMs;
  }

  function add(target: string): Circuit {
    const [oldest] = unlisted.keys();
    if (oldest !== undefined && unlisted.size >= UNLISTED_MOST) unlisted.delete(oldest);
    const circuit: Circuit = { failures: 0, cooldownMs: 0, openUntil: null, probing: false, last: null };
    circuitsWith(target).set(target, circuit);
    return circuit;
  }

  function state(target: string): BreakerState {
    const circuit = circuits.get(target);
    if (!circuit || circuit.openUntil === null) return "closed";
    return circuit.probing || circuit.openUntil <= clock() ? "half_open" : "open";
  }

  /** What a target did that is left alone, how long ago, and how long it is left alone yet, in milliseconds. */
  function lastFailure(target: string) {
    const last = circuits.get(target)?.last;
    return last
      ? { outcome: last.outcome, status: last.status, agoMs: clock() - last.at, waitMs: waitMs(target) }
      : undefined;
  }

  return { enter, waitMs, state, lastFailure };
}

/** Closed on trial: one more failure opens it again, and for longer; only a whole answer forgets what was. */
function close(circuit: Circuit): void {
  circuit.openUntil = null;
  circuit.probing = false;
  circuit.failures = FAILURES_MOST - 1;
}
