/** How an answer ended, in OpenAI's words. */
export type FinishReason = "stop" | "length" | "tool_calls" | "function_call" | "content_filter";

// Servers spell the end of an answer in their own ways: vLLM and TGI ("eos_token"), Anthropic ("end_turn"), Gemini
// ("STOP", "MAX_TOKENS"), Mistral ("model_length"), Cohere ("COMPLETE").
const SPELLINGS: Record<FinishReason, readonly string[]> = {
  stop: [
    "stop",
    "eos",
    "eos_token",
    "end_turn",
    "stop_sequence",
    "stop_token",
    "end",
    "complete",
    "completed",
    "done",
    "finished",
  ],
  length: ["length", "max_tokens", "max_length", "model_length", "max_output_tokens", "max_context_length"],
  tool_calls: ["tool_calls", "tool_call", "tool_use"],
  function_call: ["function_call"],
  content_filter: [
    "content_filter",
    "safety",
    "recitation",
    "blocklist",
    "prohibited_content",
    "refusal",
    "content_filtered",
  ],
};

const KNOWN = new Map(
  Object.entries(SPELLINGS).flatMap(([reason, words]) => words.map((word) => [word, reason as FinishReason] as const)),
);

/** Reasons that say that the answer is not whole, as vLLM's "abort" does. */
const BROKEN = /abort|error|cancel|fail|insufficient|timeout|interrupt|malformed/i;

/**
 * What a server's finish reason means; undefined where it proves nothing. `done` is whether the stream has also said
 * `[DONE]`: then a reason that nobody knows counts as the end of a whole answer, unless it names a failure.
 */
export function finishReasonOf(said: string, done: boolean): FinishReason | undefined {
  const known = KNOWN.get(said.toLowerCase().replaceAll(/[\s-]/g, "_"));
  if (known) return known;
  return done && !BROKEN.test(said) ? "stop" : undefined;
}
