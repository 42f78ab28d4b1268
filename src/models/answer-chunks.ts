import { z } from "zod";
import type { FailureKind, Usage } from "../core/model.ts";
import { kindOfError } from "./failures.ts";
import { finishReasonOf } from "./finish-reasons.ts";
import type { ProviderEvent } from "./provider.ts";

/** The longest answer that is taken, in UTF-16 units. */
const ANSWER_MOST = 4_194_304;

// Some servers send `{}`: that is no reason to lose the answer.
const usageSchema = z.object({ prompt_tokens: z.number(), completion_tokens: z.number() }).nullish().catch(undefined);

// Text, or a list of parts; `contentOf` reads it.
const saidSchema = z.object({ content: z.unknown().optional() }).nullish();

// What is read of a chunk, and no more: vendors add fields, and leave out most of these. A whole completion has
// `message` where a chunk has `delta`; some servers stream that too. `text` is the older completions' word.
const chunkSchema = z.object({
  choices: z
    .array(
      z.object({
        delta: saidSchema,
        message: saidSchema,
        text: z.string().nullish(),
        finish_reason: z.string().nullish(),
      }),
    )
    .nullish(),
  usage: usageSchema,
  x_groq: z.object({ usage: usageSchema, error: z.unknown().optional() }).nullish(),
  error: z.unknown().optional(),
});

export type Chunk = z.input<typeof chunkSchema>;
type Read = z.output<typeof chunkSchema>;

/** The text of a message's content, which some servers send as a list of parts. */
function contentOf(content: unknown): string {
  if (typeof content === "string") return content;
  if (Array.isArray(content)) return content.map(contentOf).join("");
  return typeof content === "object" && content !== null && "text" in content ? contentOf(content.text) : "";
}

/** Reads the chunks of one answer, as events of a stream or one by one: gives their text, and knows at last how it ended. */
export function chunkReader() {
  let finish: string | undefined;
  let usage: Usage | undefined;
  let failure: FailureKind | undefined;
  let length = 0;
  let done = false;

  function readOne(event: string): string {
    const text = event.trim();
    if (text === "[DONE]") {
      done = true;
      return "";
    }
    if (text === "") return "";
    const chunk = parseChunk(text);
    if (chunk) return take(chunk);
    // Behind the finish reason the answer is whole, whatever else is said.
    if (finish === undefined) failure = "stream_incomplete";
    return "";
  }

  function take(chunk: Read): string {
    failure = failureIn(chunk);
    if (failure) return "";
    const [choice] = chunk.choices ?? [];
    finish = choice?.finish_reason || finish;
    usage = usageIn(chunk) ?? usage;
    const said = contentOf(choice?.delta?.content) || contentOf(choice?.message?.content) || (choice?.text ?? "");
    length += said.length;
    if (length > ANSWER_MOST) failure = "answer_too_large";
    return said;
  }

  const isOver = () => done || failure !== undefined;
  return {
    isOver,
    take(chunk: Chunk): string {
      const read = isOver() ? undefined : chunkSchema.safeParse(chunk).data;
      return read ? take(read) : "";
    },
    usage: () => usage,
    read(events: readonly string[]): string {
      let text = "";
      for (const event of events) if (!isOver()) text += readOne(event);
      return text;
    },
    ending(): ProviderEvent {
      if (failure) return { type: "failed", kind: failure };
      // Some servers say no more than [DONE]: with text before it, that is an end too.
      const reason = finish === undefined ? (done && length > 0 ? "stop" : undefined) : finishReasonOf(finish, done);
      if (reason === "content_filter") return { type: "failed", kind: "content_filter" };
      return reason ? { type: "end", finishReason: reason } : { type: "failed", kind: "stream_incomplete" };
    },
  };
}

function parseChunk(text: string): Read | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return chunkSchema.safeParse(Array.isArray(value) ? value[0] : value).data; // Gemini sends its errors in a list
  } catch {
    return undefined;
  }
}

function failureIn(chunk: Read): FailureKind | undefined {
  const error = chunk.error ?? chunk.x_groq?.error;
  return error === undefined || error === null ? undefined : kindOfError({ error }, "stream_incomplete");
}

// Groq sends its own usage and, if asked, OpenAI's again: the last one stands, never the sum.
function usageIn(chunk: Read): Usage | undefined {
  const usage = chunk.usage ?? chunk.x_groq?.usage;
  return usage
    ? { input_tokens: usage.prompt_tokens, output_tokens: usage.completion_tokens, estimated: false }
    : undefined;
}
