import { z } from "zod";
import type { FailureKind, Usage } from "../core/model.ts";
import { sleep } from "../core/time.ts";
import { httpFailure, kindOfError } from "./failures.ts";
import { retryAfterMs } from "./policy.ts";
import type { ProviderEvent, ProviderRequest } from "./provider.ts";
import { decodeSse } from "./sse.ts";
import type { Answer, Transport } from "./transport.ts";

/** The body of a refusal may take this long, in milliseconds; then its status has to do. */
const BODY_MS = 2_000;

// Some servers send `{}`: that is no reason to lose the answer.
const usageSchema = z.object({ prompt_tokens: z.number(), completion_tokens: z.number() }).nullish().catch(undefined);

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
  usage: usageSchema,
  x_groq: z.object({ usage: usageSchema, error: z.unknown().optional() }).nullish(),
  error: z.unknown().optional(),
});

export type Chunk = z.infer<typeof chunkSchema>;

type With = Pick<ProviderRequest, "headers"> & { signal: AbortSignal };

/** Reasons for which an answer is whole. Others (vLLM's "abort", say) are no proof of success. */
const WHOLE = new Set(["stop", "length", "tool_calls", "function_call"]);

/**
 * Streamed chat completions at one URL, straight over the transport: the vendors' clients would cost more than the rest
 * of a turn. Yields the text that arrives together as one delta, the last usage, and how it ended; throws the failure of
 * the call, with its HTTP status if it had one.
 */
export const complete = (transport: Transport, { url, apiKey }: { url: string; apiKey: string | undefined }) => {
  const own = {
    "content-type": "application/json",
    accept: "text/event-stream",
    ...bearer(apiKey),
  };
  return async function* (request: object, { headers: more, signal }: With): AsyncGenerator<ProviderEvent> {
    const headers = more ? { ...more, ...own } : own;
    const answer = await transport.send({ url, method: "POST", headers, body: JSON.stringify(request), signal });
    try {
      if (answer.status >= 300) throw await refusalOf(answer);
      yield { type: "head", status: answer.status };
      yield* readEvents(answer.chunks);
    } finally {
      answer.release();
    }
  };
};

/** The failure of a call that was answered with an error, whose body is not waited for for long. */
export async function refusalOf(answer: Answer): Promise<Error> {
  const enough = new AbortController();
  const late = sleep(BODY_MS, enough.signal).then(() => "");
  const body = await Promise.race([answer.text(), late]).finally(() => enough.abort());
  return httpFailure({ status: answer.status, body, retryAfterMs: retryAfterMs(answer.header, Date.now()) });
}

/** A server of one's own needs no key. */
export const bearer = (apiKey: string | undefined): Record<string, string> =>
  apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` };

async function* readEvents(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<ProviderEvent> {
  const answer = chunkReader();
  for await (const events of decodeSse(chunks)) {
    const text = answer.read(events);
    if (text !== "") yield { type: "delta", text };
    if (answer.isOver()) break;
    if (text === "") yield { type: "alive" };
  }
  const usage = answer.usage();
  if (usage) yield { type: "usage", usage };
  yield answer.ending();
}

/** Reads the chunks of one answer, as events of a stream or one by one: gives their text, and knows at last how it ended. */
export function chunkReader() {
  let finish: string | undefined;
  let usage: Usage | undefined;
  let failure: FailureKind | undefined;
  let done = false;

  function readOne(event: string): string {
    if (event === "[DONE]") {
      done = true;
      return "";
    }
    if (event.trim() === "") return "";
    const chunk = parseChunk(event);
    if (!chunk) failure = "stream_incomplete";
    return chunk ? take(chunk) : "";
  }

  function take(chunk: Chunk): string {
    failure = failureIn(chunk);
    if (failure) return "";
    const [choice] = chunk.choices ?? [];
    finish = choice?.finish_reason ?? finish;
    usage = usageIn(chunk) ?? usage;
    return choice?.delta?.content ?? "";
  }

  const isOver = () => done || failure !== undefined;
  return {
    isOver,
    take: (chunk: Chunk): string => (isOver() ? "" : take(chunk)),
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
