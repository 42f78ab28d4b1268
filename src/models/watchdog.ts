import type { FailureKind } from "../core/model.ts";

/**
 * Milliseconds: of silence before the first text and between texts, and until everything has to be over. Signs of life
 * without text (a job in a queue, a model that reasons) break the first silence for `life` at most.
 */
export type Limits = { firstToken: number; idle: number; total: number; life: number };

export type Watchdog = ReturnType<typeof watchdog>;

/** A timer that fires so late means that the process itself slept: what arrived meanwhile has not been read yet. */
const LATE_MS = 250;
/** What is then given to read it, in milliseconds. */
const GRACE_MS = 1_000;

/**
 * A timeout that can be restarted. Where it fires late, since the process was stopped or the machine asleep, the sockets
 * are read first.
 */
function deadline(ms: number, passed: () => void) {
  let timer = setTimeout(fire, ms);
  let due = performance.now() + ms;
  let isGiven = false;
  function fire(): void {
    const isLate = !isGiven && performance.now() - due >= LATE_MS;
    isGiven ||= isLate;
    if (isLate) timer = setTimeout(fire, GRACE_MS);
    else passed();
  }
  return {
    restart() {
      due = performance.now() + ms;
      if (isGiven) {
        clearTimeout(timer);
        timer = setTimeout(fire, ms);
      } else timer.refresh();
      isGiven = false;
    },
    stop: () => clearTimeout(timer),
  };
}

/** Aborts its signal when the caller's does, when the target stays silent too long, or when its time is up. */
export function watchdog(limits: Limits, caller: AbortSignal) {
  const controller = new AbortController();
  let reason: FailureKind | undefined;
  let answered = false;
  let speaking = false;
  const abort = (kind: FailureKind) => {
    reason ??= kind;
    controller.abort();
  };
  const cancel = () => abort("cancelled");
  const lifeUntil = performance.now() + limits.life;
  const total = deadline(limits.total, () => abort("timeout_total"));
  let silence = deadline(limits.firstToken, () => abort(answered ? "timeout_first_token" : "timeout_headers"));
  if (caller.aborted) cancel();
  caller.addEventListener("abort", cancel);
  return {
    signal: controller.signal,
    reason: () => reason,
    /** The target has answered, though with nothing yet. */
    answers() {
      answered = true;
    },
    alive() {
      answered = true;
      if (speaking || performance.now() < lifeUntil) silence.restart();
    },
    /** Something keeps the connection open, which need not be the target itself: it is not waited for without end. */
    waits() {
      answered = true;
      if (performance.now() < lifeUntil) silence.restart();
    },
    /** The first text is there: from now on silence is measured between texts. */
    speaks() {
      speaking = true;
      silence.stop();
      silence = deadline(limits.idle, () => abort("timeout_idle"));
    },
    stop(isWhole: boolean) {
      total.stop();
      silence.stop();
      caller.removeEventListener("abort", cancel);
      if (!isWhole) controller.abort(); // an answer that is left in the middle is not to be paid for
    },
  };
}
