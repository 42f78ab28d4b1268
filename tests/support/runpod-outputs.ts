// What the handlers of RunPod's workers put out.

/** No event, response or log line may ever show it, and no traceback either. */
export const KEY = "rpa_MARKER_OF_THE_KEY";

export const TRACEBACK = `Traceback (most recent call last): File "/src/handler.py" ${KEY} RuntimeError: CUDA out of memory`;

/** The vLLM worker up to 2.23. */
export const tokens = (words: string[], usage = { input: 11, output: 7 }) => ({ choices: [{ tokens: words }], usage });

export const chunk = (content: string, finish_reason: string | null = null) => ({
  object: "chat.completion.chunk",
  choices: [{ index: 0, delta: { content }, finish_reason }],
});

export const USAGE = { prompt_tokens: 11, completion_tokens: 7 };

/** The vLLM worker from 2.24, streamed: the text of an event stream, to be cut anywhere. */
export const sse = (words: string[], finish: string | null = "stop"): string =>
  [...words.map((word) => chunk(word)), chunk("", finish), { choices: [], usage: USAGE }]
    .map((data) => `data: ${JSON.stringify(data)}\n\n`)
    .join("")
    .concat("data: [DONE]\n\n");

/** The same, not streamed. */
export const completion = (content: string, finish_reason = "stop") => ({
  object: "chat.completion",
  choices: [{ index: 0, message: { role: "assistant", content }, finish_reason }],
  usage: USAGE,
});
