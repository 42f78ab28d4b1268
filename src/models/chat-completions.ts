import { z } from "zod";
import type { FailureKind, Usage } from "../core/model.ts";
import { httpFailure, kindOfError } from "./failures.ts";
import type { ProviderEvent } from "./provider.ts";
import { decodeSse } from "./sse.ts";
import type { Transport } from "./transport.ts";

// What is read of a chunk, and no more: vendors add fields, and leave out most of these.
const chunkSchema = z.object({
  choices: z
    .array(
      z.object({
        delta: z.object({ content: z.string().nullish() }).nullish(),
        finish_reason: z.string().nullish(),
      }),
    )
    .nullish(),
  usage: z.object({ prompt_tokens: z.number(), completion_tokens: z.number() }).nullish(),
  x_groq: z
    .object({
      usage: z.object({ prompt_tokens: z.number(), completion_tokens: z.number() }).nullish(),
      error: z.unknown().optional(),
    })
    .nullish(),
  error: z.unknown().optional(),
});

type Chunk = z.infer<typeof chunkSchema>;

/** Reasons for which an answer is whole. Others (vLLM's "abort", say) are no proof of success. */
const WHOLE = new Set(["stop", "length", "tool_calls", "function_call"]);

/**
 * Streamed chat completions at one URL, straight over the transport: the vendors' clients would cost more than the rest
 * of a turn. Yields the text that arrives together as one delta, the last usage, and how it ended; throws the failure of
 * the call, with its HTTP status if it had one.
 */
export const complete = (transport: Transport, { url, apiKey }: { url: string; apiKey: string | undefined }) => {
  const headers = {
    "content-type": "application/json",
    accept: "text/event-stream",
    ...bearer(apiKey),
  };
  return async function* (request: object, signal: AbortSignal): AsyncGenerator<ProviderEvent> {
    const answer = await transport.send({ url, method: "POST", headers, body: JSON.stringify(request), signal });
    try {
      if (answer.status >= 300) throw httpFailure(answer.status, await answer.text());
      yield* readEvents(answer.chunks);
    } finally {
      answer.release();
    }
  };
};

/** A server of one's own needs no key. */
export const bearer = (apiKey: string | undefined): Record<string, string> =>
  apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` };

async function* readEvents(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<ProviderEvent> {
  const answer = createReader();
  for await (const events of decodeSse(chunks)) {
    const text = answer.read(events);
    if (text !== "") yield { type: "delta", text };
    if (answer.isOver()) break;
  }
  const usage = answer.usage();
  if (usage) yield { type: "usage", usage };
  yield answer.ending();
}

function createReader() {
  let finish: string | undefined;
  let usage: Usage | undefined;
  let failure: FailureKind | undefined;
  let done = false;

  function readOne(event: string): string {
    if (event === "[DONE]") {
      done = true;
      return "";
    }
    const chunk = parseChunk(event);
    failure = chunk ? failureIn(chunk) : "stream_incomplete";
    if (!chunk || failure) return "";
    const [choice] = chunk.choices ?? [];
    finish = choice?.finish_reason ?? finish;
    usage = usageIn(chunk) ?? usage;
    return choice?.delta?.content ?? "";
  }

  const isOver = () => done || failure !== undefined;
  return {
    isOver,
    usage: () => usage,
    read(events: readonly string[]): string {
      let text = "";
      for (const event of events) if (!isOver()) text += readOne(event);
      return text;
    },
    ending(): ProviderEvent {
      if (failure) return { type: "failed", kind: failure };
      if (finish === "content_filter") return { type: "failed", kind: "content_filter" };
      if (finish !== undefined && WHOLE.has(finish)) return { type: "end", finishReason: finish };
      return { type: "failed", kind: "stream_incomplete" };
    },
  };
}

function parseChunk(text: string): Chunk | undefined {
  try {
    return chunkSchema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined; // no JSON: the stream is garbage from here on
  }
}

function failureIn(chunk: Chunk): FailureKind | undefined {
  const error = chunk.error ?? chunk.x_groq?.error;
  return error === undefined || error === null ? undefined : kindOfError({ error }, "stream_incomplete");
}

// Groq sends its own usage and, if asked, OpenAI's again: the last one stands, never the sum.
function usageIn(chunk: Chunk): Usage | undefined {
  const usage = chunk.usage ?? chunk.x_groq?.usage;
  return usage
    ? { input_tokens: usage.prompt_tokens, output_tokens: usage.completion_tokens, estimated: false }
    : undefined;
}
