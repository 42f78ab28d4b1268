import type { FailureKind, ModelMessage, Usage } from "../core/model.ts";

/** What a provider tells of one call. The last event is `end` or `failed`; a provider may throw instead of the latter. */
export type ProviderEvent =
  | { type: "delta"; text: string }
  | { type: "status"; status: "queued" | "starting" }
  /** The head of its answer has come, with this HTTP status. */
  | { type: "head"; status: number }
  /** It is at work, but has no text: a model that reasons, say. */
  | { type: "alive" }
  /** The connection lives, but nothing says that anybody is at work: a comment of a proxy, say. */
  | { type: "waiting" }
  /** What was told so far is void: the answer begins anew. */
  | { type: "restart" }
  | { type: "usage"; usage: Usage }
  | { type: "end"; finishReason: string }
  | { type: "failed"; kind: FailureKind };

/** `temperature` and `maxTokens` are there only where they were asked for and the model takes them. */
export type ProviderRequest = {
  model: string;
  messages: readonly ModelMessage[];
  temperature?: number | undefined;
  maxTokens?: number | undefined;
  /** Sent beside the provider's own, where it is called over HTTP. */
  headers?: Readonly<Record<string, string>> | undefined;
};

/** A provider is a function. Aborting the signal closes its connection at once. */
export type Provider = (request: ProviderRequest, signal: AbortSignal) => AsyncIterable<ProviderEvent>;
