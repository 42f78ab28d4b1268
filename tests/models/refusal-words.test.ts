import { expect, it } from "vitest";
import type { FailureKind } from "../../src/core/model.ts";
import { httpFailure, kindOfError, wordsOf } from "../../src/models/failures.ts";
import { measureIn } from "../../src/models/refusal-words.ts";

/** As the servers say it on the wire: what is right is in the kind, not in the sentence. */
const openai = (message: string, more: object = {}) =>
  JSON.stringify({ error: { message, type: "invalid_request_error", ...more } });

const refusals: { server: string; status: number; body: string; kind: FailureKind; measure?: object }[] = [
  {
    server: "vLLM, a prompt that is too long",
    status: 400,
    body: JSON.stringify({
      object: "error",
      message:
        "This model's maximum context length is 4096 tokens. However, you requested 5096 tokens (4596 in the messages, 500 in the completion). Please reduce the length of the messages or completion.",
      type: "BadRequestError",
      code: 400,
    }),
    kind: "context_length",
    measure: { window: 4_096, prompt: 4_596 },
  },
  {
    server: "llama.cpp, a prompt that is too long",
    status: 400,
    body: JSON.stringify({
      error: {
        code: 400,
        message: "request (9000 tokens) exceeds the available context size (8192 tokens), try increasing it",
        type: "exceed_context_size_error",
      },
    }),
    kind: "context_length",
    measure: { window: 8_192, prompt: 9_000 },
  },
  {
    server: "LM Studio, a prompt that is too long",
    status: 400,
    body: JSON.stringify({
      error:
        "Trying to keep the first 5312 tokens when context the overflows. However, the model is loaded with context length of only 4096 tokens, which is not enough.",
    }),
    kind: "context_length",
    measure: { window: 4_096, prompt: null },
  },
  {
    server: "TGI, a prompt that is too long",
    status: 422,
    body: JSON.stringify({
      error:
        "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000 `inputs` tokens and 20 `max_new_tokens`",
      error_type: "validation",
    }),
    kind: "context_length",
    measure: { window: 4_096, prompt: 5_000 },
  },
  {
    server: "Anthropic, a prompt that is too long",
    status: 400,
    body: openai("prompt is too long: 210,000 tokens > 200,000 maximum"),
    kind: "context_length",
    measure: { window: 200_000, prompt: 210_000 },
  },
  {
    server: "Gemini, a prompt that is too long",
    status: 400,
    body: `[${openai("The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).", { status: "INVALID_ARGUMENT" })}]`,
    kind: "context_length",
    measure: { window: 1_048_576, prompt: 1_200_000 },
  },
  {
    server: "Mistral, a prompt that is too long",
    status: 400,
    body: JSON.stringify({
      object: "error",
      message: "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length",
      code: "3051",
    }),
    kind: "context_length",
    measure: { window: 32_768, prompt: 40_000 },
  },
  {
    server: "xAI, a prompt that is too long",
    status: 400,
    body: JSON.stringify({
      code: "Client specified an invalid argument",
      error: "This model's maximum prompt length is 131072 but the request contains 537812 tokens.",
    }),
    kind: "context_length",
    measure: { window: 131_072, prompt: 537_812 },
  },
  {
    server: "Groq, more tokens than a minute has",
    status: 413,
    body: openai(
      "Request too large for model `m` on tokens per minute (TPM): Limit 6000, Requested 9000, please reduce your message size",
      { type: "tokens", code: "rate_limit_exceeded" },
    ),
    kind: "context_length",
    measure: { window: 6_000, prompt: 9_000 },
  },
  { server: "a body that is too large", status: 413, body: "<html>413</html>", kind: "context_length" },
  {
    server: "Gemini, a wrong key",
    status: 400,
    body: `[${openai("API key not valid. Please pass a valid API key.", { status: "INVALID_ARGUMENT", details: [{ reason: "API_KEY_INVALID" }] })}]`,
    kind: "auth",
  },
  {
    server: "xAI, a wrong key",
    status: 400,
    body: JSON.stringify({ error: "Incorrect API key provided: xa***. You can obtain an API key from the console." }),
    kind: "auth",
  },
  { server: "DeepSeek, no money left", status: 402, body: openai("Insufficient Balance"), kind: "quota_exhausted" },
  {
    server: "Anthropic, no money left",
    status: 400,
    body: openai("Your credit balance is too low to access the API."),
    kind: "quota_exhausted",
  },
  {
    server: "a spent quota in words alone",
    status: 429,
    body: openai("You exceeded your current quota, please check your plan and billing details."),
    kind: "quota_exhausted",
  },
  {
    server: "Ollama, no such model",
    status: 404,
    body: openai('model "x" not found, try pulling it first'),
    kind: "model_gone",
  },
  {
    server: "no such model, as a 400",
    status: 400,
    body: openai("The model `x` does not exist or you do not have access to it."),
    kind: "model_gone",
  },
  {
    server: "Azure, a filtered prompt",
    status: 400,
    body: openai("The response was filtered", {
      code: "content_filter",
      innererror: { code: "ResponsibleAIPolicyViolation" },
    }),
    kind: "content_filter",
  },
  {
    server: "OpenRouter, a moderated prompt",
    status: 403,
    body: openai("Your chosen model requires moderation and your input was flagged"),
    kind: "content_filter",
  },
  { server: "a key without rights", status: 403, body: openai("Permission denied"), kind: "auth" },
  {
    server: "FastAPI, an unknown field",
    status: 422,
    body: JSON.stringify({
      detail: [{ loc: ["body", "top_k"], msg: "extra fields not permitted", type: "value_error.extra" }],
    }),
    kind: "bad_request",
  },
  { server: "plain text", status: 400, body: "prompt is too long", kind: "context_length" },
];

it.each(refusals)("$server ($status) is $kind", ({ status, body, kind, measure }) => {
  const error = httpFailure({ status, body, retryAfterMs: null });
  expect(kindOfError(error, "stream_cut")).toBe(kind);
  if (measure) expect(measureIn(wordsOf(error))).toEqual(measure);
});

it("names the same in a stream, where there is no status", () => {
  const error = { error: { message: "This model's maximum context length is 4096 tokens." } };
  expect(kindOfError(error, "stream_incomplete")).toBe("context_length");
  expect(kindOfError({ error: { message: "boom" } }, "stream_incomplete")).toBe("stream_incomplete");
});
