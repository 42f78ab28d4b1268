import type { Attempt, ContextReport, Usage } from "../db/tables.ts";
import type { Trace } from "./trace.ts";

/** What core and the models say to each other. */

export type ModelMessage = { role: "system" | "user" | "assistant"; content: string };

export type { Attempt, ContextReport, Usage };

export type Outcome = "completed" | FailureKind;

export type FailureKind =
  | "rate_limited"
  | "quota_exhausted"
  | "overloaded"
  | "connect"
  | "timeout_headers"
  | "timeout_first_token"
  | "timeout_idle"
  | "timeout_total"
  | "stream_cut"
  | "stream_incomplete"
  | "answer_too_large"
  | "bad_request"
  | "context_length"
  | "content_filter"
  | "auth"
  | "model_gone"
  | "cancelled";

export type Prompt = { messages: ModelMessage[]; report: ContextReport };

/** What a request asked for beside the model. A target whose model refuses one of them is not sent it. */
export type PlanOptions = { temperature?: number | undefined; maxTokens?: number | undefined };

/**
 * Where a turn may go: the targets (`provider/model`) in order of trial, the largest window among them in tokens, and the
 * trace that its calls are part of.
 */
export type Plan = {
  model: string;
  targets: readonly string[];
  window: number;
  options?: PlanOptions;
  trace?: Trace | undefined;
};

export type TurnError = {
  code: "turn_cancelled" | "context_too_long" | "content_refused" | ProviderCode;
  detail: string;
  /** Seconds after which it may be worth trying again, where that is known. */
  retry_after_s?: number;
};
export type ProviderCode = "provider_failed" | "provider_unavailable" | "provider_timeout";

/** What a turn hears while it is answered. `end` and `failed` come last, and one of them always does. */
export type DispatchEvent =
  | { type: "delta"; text: string }
  | { type: "status"; status: "queued" | "starting" }
  /** What was told so far is void; the answer starts anew. */
  | { type: "restart"; reason: FailureKind }
  | ({ type: "end"; finishReason: string } & Ran)
  | ({ type: "failed"; error: TurnError } & Ran);

/**
 * `target` and `context` are those of the text that stands. `usage` and `cost` (USD) are those of all attempts that used
 * tokens; the cost is null where the price of one of them is unknown.
 */
type Ran = {
  target: string | null;
  usage: Usage | null;
  cost: number | null;
  attempts: Attempt[];
  context: ContextReport | null;
  /** Milliseconds that went by in waiting for targets, between attempts too. */
  waitedMs: number;
};

export type Models = {
  /** Throws a 422 that names the usable models. */
  plan(model: string | undefined, options?: PlanOptions): Plan;
  /** Runs a plan. `prompt` fits the conversation into a window of that many tokens. Never throws. */
  dispatch(plan: Plan, prompt: (window: number) => Prompt, signal: AbortSignal): AsyncIterable<DispatchEvent>;
};
