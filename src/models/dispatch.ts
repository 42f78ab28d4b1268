import { AppError } from "../core/errors.ts";
import type { Attempt, DispatchEvent, FailureKind, Models, Outcome, Prompt, Usage } from "../core/model.ts";
import { estimateTokens, textCleaner } from "../core/text.ts";
import { kindOfError, statusOf, tell } from "./failures.ts";
import type { ProviderEvent } from "./provider.ts";
import type { Registry, Target } from "./registry.ts";

/** Milliseconds: of silence before the first token and between tokens, and for the whole turn. */
export type Timeouts = { firstToken: number; idle: number; total: number };

/** Runs a turn on its target. Every way in which it can fail ends in a `failed` event. */
export function createDispatch(registry: Registry, timeouts: Timeouts): Models["dispatch"] {
  return async function* (plan, prompt, signal) {
    const [name = plan.model] = plan.targets;
    const none = { target: null, usage: null, attempts: [], context: null };
    const target = await registry.target(name, signal);
    if (!target) return yield { type: "failed", error: tell(name, signal.aborted ? "cancelled" : "connect"), ...none };
    let fitted: Prompt;
    try {
      fitted = prompt(target.window);
    } catch (error) {
      if (!(error instanceof AppError) || error.code !== "context_too_long") throw error;
      return yield { type: "failed", error: { code: error.code, detail: error.message }, ...none };
    }
    yield* attempt(target, fitted, { timeouts, signal });
  };
}

type AttemptOptions = { timeouts: Timeouts; signal: AbortSignal };

/** One call to one target, with its timers. Its connection is closed whenever this is left before the answer is whole. */
async function* attempt(target: Target, prompt: Prompt, { timeouts, signal }: AttemptOptions) {
  const watch = watchdog(timeouts, signal);
  const call = listen(target, prompt);
  try {
    for await (const event of target.provider({ model: target.model, messages: prompt.messages }, watch.signal)) {
      watch.alive();
      const heard = call.hear(event);
      if (heard) yield heard;
    }
  } catch (error) {
    call.fail(error);
  } finally {
    watch.stop(call.isWhole());
  }
  const rest = call.rest();
  if (rest) yield rest;
  yield call.close(watch.reason());
}

/** What has been heard of one call so far, and what is to be told of it. */
function listen(target: Target, prompt: Prompt) {
  const started = performance.now();
  const clean = textCleaner();
  let text = "";
  let usage: Usage | undefined;
  let outcome: Outcome = "stream_incomplete";
  let finishReason = "";
  let status: number | null = null;

  const delta = (more: string): DispatchEvent | undefined => {
    text += more;
    return more === "" ? undefined : { type: "delta", text: more };
  };
  return {
    isWhole: () => outcome === "completed",
    rest: () => delta(clean.end()),
    hear(event: ProviderEvent): DispatchEvent | undefined {
      if (event.type === "delta") return delta(clean.push(event.text));
      if (event.type === "status") return event;
      if (event.type === "usage") usage = event.usage;
      else if (event.type === "failed") outcome = event.kind;
      else [outcome, finishReason] = ["completed", event.finishReason];
      return undefined;
    },
    fail(error: unknown) {
      status = statusOf(error);
      outcome = kindOfError(error, text === "" ? "connect" : "stream_cut");
    },
    /** `aborted` says why the call was given up, if it was. */
    close(aborted: FailureKind | undefined): DispatchEvent {
      if (outcome !== "completed") outcome = aborted ?? outcome;
      const { name } = target;
      const ms = Math.round(performance.now() - started);
      const spent = usage ?? estimate(prompt, text);
      const attempts: Attempt[] = [{ target: name, outcome, status, ms, usage: spent }];
      const ran = { target: name, usage: spent, attempts, context: prompt.report };
      if (outcome === "completed") return { type: "end", finishReason, ...ran };
      return { type: "failed", error: tell(name, outcome), ...ran };
    },
  };
}

function estimate(prompt: Prompt, answer: string): Usage {
  return {
    input_tokens: prompt.report.estimated_tokens,
    output_tokens: estimateTokens(answer),
    estimated: true,
  };
}

/** Aborts its signal when the caller's does, when the target stays silent too long, or when its time is up. */
function watchdog(timeouts: Timeouts, caller: AbortSignal) {
  const controller = new AbortController();
  let reason: FailureKind | undefined;
  const abort = (kind: FailureKind) => {
    reason ??= kind;
    controller.abort();
  };
  const cancel = () => abort("cancelled");
  if (caller.aborted) cancel();
  caller.addEventListener("abort", cancel);
  let heard = false;
  const total = setTimeout(abort, timeouts.total, "timeout_total");
  const first = setTimeout(abort, timeouts.firstToken, "timeout_first_token");
  let idle: ReturnType<typeof setTimeout> | undefined;
  return {
    signal: controller.signal,
    reason: () => reason,
    alive() {
      if (heard) return void idle?.refresh();
      heard = true;
      clearTimeout(first);
      idle = setTimeout(abort, timeouts.idle, "timeout_idle");
    },
    stop(isWhole: boolean) {
      for (const timer of [total, first, idle]) clearTimeout(timer);
      caller.removeEventListener("abort", cancel);
      if (!isWhole) controller.abort(); // an answer that is left in the middle is not to be paid for
    },
  };
}
