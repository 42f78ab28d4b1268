import type { FailureKind } from "../core/model.ts";

/**
 * Milliseconds: of silence before the first text and between texts, and until everything has to be over. Signs of life
 * without text (a job in a queue, a model that reasons) break the first silence for `life` at most.
 */
export type Limits = { firstToken: number; idle: number; total: number; life: number };

export type Watchdog = ReturnType<typeof watchdog>;

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
  const total = setTimeout(abort, limits.total, "timeout_total");
  let silence = setTimeout(() => abort(answered ? "timeout_first_token" : "timeout_headers"), limits.firstToken);
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
      if (speaking || performance.now() < lifeUntil) silence.refresh();
    },
    /** The first text is there: from now on silence is measured between texts. */
    speaks() {
      speaking = true;
      clearTimeout(silence);
      silence = setTimeout(abort, limits.idle, "timeout_idle");
    },
    stop(isWhole: boolean) {
      clearTimeout(total);
      clearTimeout(silence);
      caller.removeEventListener("abort", cancel);
      if (!isWhole) controller.abort(); // an answer that is left in the middle is not to be paid for
    },
  };
}
