import { AppError } from "../core/errors.ts";
import type { Attempt, DispatchEvent, FailureKind, Outcome, Plan, Prompt, Usage } from "../core/model.ts";
import { estimateTokens, textCleaner } from "../core/text.ts";
import { headersOf } from "../core/trace.ts";
import type { Pass } from "./breaker.ts";
import { requestFor } from "./capabilities.ts";
import { kindOfError, retryAfterOf, statusOf, wordsOf } from "./failures.ts";
import type { ProviderEvent } from "./provider.ts";
import { type Measure, measureIn } from "./refusal-words.ts";
import type { Registry, Target } from "./registry.ts";
import { type Limits, type Watchdog, watchdog } from "./watchdog.ts";

/** One call to one target: what has been heard of it so far, with its timers and its pass. */
export type Call = {
  /** As the plan names it; the target may turn out to have another name. */
  readonly name: string;
  readonly pass: Pass;
  readonly watch: Watchdog;
  readonly started: number;
  /** Why the text that was told before is void once this call has some of its own; null where there is none. */
  voids: FailureKind | null;
  readonly clean: ReturnType<typeof textCleaner>;
  target: Target | null;
  prompt: Prompt | null;
  text: string;
  firstTokenMs: number | null;
  /** Until the first of its answer behind the head, text or not. */
  firstChunkMs: number | null;
  /** Since when it is the target that is waited for; null while it is not. */
  waitsSince: number | null;
  waitedMs: number;
  usage: Usage | null;
  outcome: Outcome;
  /** Whether all that there was to hear has been heard. */
  isOver: boolean;
  finishReason: string;
  status: number | null;
  retryAfterMs: number | null;
  /** How large the target said its window is, when it refused the prompt for its length. */
  measure: Measure | undefined;
  /** Why nothing was asked of the target: the conversation cannot be fitted into its window. */
  unfit: string | null;
};

type CallOptions = Pick<Call, "pass" | "voids"> & { limits: Limits; signal: AbortSignal };

export function openCall(name: string, { pass, voids, limits, signal }: CallOptions): Call {
  return {
    name,
    pass,
    watch: watchdog(limits, signal),
    started: performance.now(),
    voids,
    clean: textCleaner(),
    target: null,
    prompt: null,
    text: "",
    firstTokenMs: null,
    firstChunkMs: null,
    waitsSince: null,
    waitedMs: 0,
    usage: null,
    outcome: "stream_incomplete",
    isOver: false,
    finishReason: "",
    status: null,
    retryAfterMs: null,
    measure: undefined,
    unfit: null,
  };
}

/** Asks the target. What is thrown here, or by the events, goes to `failCall`. */
export async function beginCall(
  call: Call,
  registry: Registry,
  { plan: { options, trace }, prompt }: { plan: Plan; prompt: (window: number) => Prompt },
): Promise<AsyncIterable<ProviderEvent>> {
  const { signal } = call.watch;
  waits(call);
  call.target = await registry.target(call.name, signal);
  signal.throwIfAborted();
  goesOn(call);
  call.prompt = prompt(call.target.capabilities.window);
  const request = requestFor(call.target, call.prompt, options);
  waits(call);
  return call.target.provider(trace ? { ...request, headers: headersOf(trace) } : request, signal);
}

/** From now on it is the target that is waited for. */
export function waits(call: Call): void {
  call.waitsSince = performance.now();
}

function goesOn(call: Call): number {
  const now = performance.now();
  call.waitedMs += now - (call.waitsSince ?? now);
  call.waitsSince = null;
  return now;
}

const NOTHING: readonly DispatchEvent[] = [];

/** Takes an event in; returns what the turn is to hear of it. */
export function hear(call: Call, event: ProviderEvent): readonly DispatchEvent[] {
  const now = goesOn(call);
  if (event.type === "head") {
    call.status = event.status;
    call.watch.answers();
    return NOTHING;
  }
  if (event.type === "waiting") {
    call.watch.waits();
    return NOTHING;
  }
  call.watch.alive();
  if (event.type === "status") return [event];
  if (event.type === "restart") return beginAnew(call);
  call.firstChunkMs ??= now - call.started;
  if (event.type === "delta") return told(call, call.clean.push(event.text));
  if (event.type === "usage") call.usage = event.usage;
  else if (event.type === "failed") call.outcome = event.kind;
  else if (event.type === "end") [call.outcome, call.finishReason] = ["completed", event.finishReason];
  return NOTHING;
}

function beginAnew(call: Call): readonly DispatchEvent[] {
  call.clean.end();
  if (call.text === "") return NOTHING;
  call.text = "";
  return [{ type: "restart", reason: "stream_cut" }];
}

function told(call: Call, text: string): readonly DispatchEvent[] {
  if (text === "") return NOTHING;
  const isFirst = call.text === "";
  call.text += text;
  if (!isFirst) return [{ type: "delta", text }];
  call.firstTokenMs = Math.round(performance.now() - call.started);
  call.watch.speaks();
  call.pass.speaks();
  return [...restart(call), { type: "delta", text }];
}

function restart(call: Call): readonly DispatchEvent[] {
  const { voids } = call;
  call.voids = null;
  return voids === null ? NOTHING : [{ type: "restart", reason: voids }];
}

/** Rethrows what is no failure of a target. */
export function failCall(call: Call, error: unknown): void {
  const isOurs = call.target !== null && call.prompt === null && call.watch.reason() === undefined;
  if (isOurs) {
    if (!(error instanceof AppError) || error.code !== "context_too_long") throw error;
    call.unfit = error.message;
  }
  call.status = statusOf(error) ?? call.status;
  call.retryAfterMs = retryAfterOf(error);
  call.isOver = true;
  call.outcome = isOurs ? "context_length" : kindOfError(error, call.status === null ? "connect" : "stream_cut");
  if (call.outcome === "context_length") call.measure = measureIn(wordsOf(error));
}

/** Has to be called whichever way a call is left: clears its timers, and gives back its pass and its connection. */
export function closeCall(call: Call): void {
  goesOn(call);
  if (!call.isOver)
    call.outcome = "cancelled"; // whoever listened has stopped listening
  else if (call.outcome !== "completed") call.outcome = call.watch.reason() ?? call.outcome;
  call.watch.stop(call.outcome === "completed");
  call.pass.end(call.unfit === null ? call.outcome : "cancelled", call.retryAfterMs, call.status);
}

/** What is left to tell of a closed call: half a character that was waited for, and that an empty answer is one too. */
export function restOf(call: Call): readonly DispatchEvent[] {
  const isFirst = call.text === "";
  const text = call.clean.end();
  call.text += text;
  const begins = isFirst && (text !== "" || call.outcome === "completed") ? restart(call) : NOTHING;
  return text === "" ? begins : [...begins, { type: "delta", text }];
}

/** A call as the ledger keeps it. */
export function attemptOf(call: Call): Attempt {
  return {
    target: call.target?.name ?? call.name,
    outcome: call.outcome,
    status: call.status,
    ms: Math.round(performance.now() - call.started),
    first_token_ms: call.firstTokenMs,
    usage: usageOf(call),
  };
}

// Tokens were spent if the answer had begun, whoever ended it. A refusal costs nothing.
function usageOf({ usage, prompt, outcome, text, status, watch }: Call): Usage | null {
  const leftAtWork = status !== null && watch.reason() !== undefined;
  if (usage || !prompt || (outcome !== "completed" && text === "" && !leftAtWork)) return usage;
  return { input_tokens: prompt.report.estimated_tokens, output_tokens: estimateTokens(text), estimated: true };
}
