import type { FailureKind, ModelMessage, Usage } from "../core/model.ts";

/** What a provider tells of one call. The last event is `end` or `failed`; a provider may throw instead of the latter. */
export type ProviderEvent =
  | { type: "delta"; text: string }
  | { type: "status"; status: "queued" | "starting" }
  | { type: "usage"; usage: Usage }
  | { type: "end"; finishReason: string }
  | { type: "failed"; kind: FailureKind };

export type ProviderRequest = { model: string; messages: readonly ModelMessage[] };

/** A provider is a function. Aborting the signal closes its connection at once. */
export type Provider = (request: ProviderRequest, signal: AbortSignal) => AsyncIterable<ProviderEvent>;
