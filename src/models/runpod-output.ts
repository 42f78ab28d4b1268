import { z } from "zod";
import { type Chunk, chunkReader } from "./answer-chunks.ts";
import type { ProviderEvent } from "./provider.ts";
import { byteJoiner, isEventStream } from "./runpod-text.ts";
import { sseParser } from "./sse.ts";

const content = z.object({ content: z.string().nullish() }).nullish();
const openaiUsage = z.object({ prompt_tokens: z.number(), completion_tokens: z.number() });
const workerUsage = z
  .object({ input: z.number(), output: z.number() })
  .transform(({ input, output }) => ({ prompt_tokens: input, completion_tokens: output }));

/** A completion, a chunk of one, or what the vLLM worker up to 2.23 makes of it. */
const completionSchema = z.object({
  choices: z.array(
    z.object({
      message: content,
      delta: content,
      text: z.string().nullish(),
      tokens: z.array(z.string()).nullish(),
      finish_reason: z.string().nullish(),
    }),
  ),
  usage: z.union([openaiUsage, workerUsage]).nullish().catch(null),
});

type Completion = z.infer<typeof completionSchema>;

export type OutputReader = ReturnType<typeof outputReader>;

/**
 * Reads what a job put out, whatever its handler makes of an answer: completions and their chunks, tokens, text, lists
 * and wrappings of these, and text that is an event stream cut anywhere. Which one it is shows from the output itself.
 */
export function outputReader() {
  const chunks = chunkReader();
  const events = sseParser();
  const join = byteJoiner();
  let text = "";
  let form: "unknown" | "text" | "events" = "unknown";
  let beginning = "";
  let saysHowItEnds = false;

  function readString(piece: string): string {
    const joined = join(piece);
    if (form === "text") return joined;
    if (form === "events") return chunks.read(events.push(joined));
    beginning += joined;
    const isEvents = isEventStream(beginning);
    if (isEvents === undefined) return "";
    form = isEvents ? "events" : "text";
    saysHowItEnds ||= isEvents;
    return isEvents ? chunks.read(events.push(beginning.trimStart())) : beginning;
  }

  function readCompletion(completion: Completion): string {
    saysHowItEnds ||= completion.choices.some(({ tokens, finish_reason }) => !tokens || finish_reason);
    return chunks.take(chunkOf(completion));
  }

  function readOne(output: unknown): string {
    if (typeof output === "string") return readString(output);
    if (Array.isArray(output)) return output.map(readOne).join("");
    if (typeof output !== "object" || output === null) return "";
    if (isError(output)) return chunks.take({ error: output });
    const completion = completionSchema.safeParse(output).data;
    return completion ? readCompletion(completion) : readOne(wrappedIn(output));
  }

  /** Text that waited for more of it: there is none. */
  function readRest(): string {
    const rest = join();
    if (form === "events") return chunks.read([...events.push(rest), ...events.end()]);
    return form === "text" ? rest : beginning + rest;
  }

  const told = (more: string) => {
    text += more;
    return more;
  };
  return {
    /** Gives the text that this part of the output adds. */
    read: (output: unknown): string => told(readOne(output)),
    /** Call it once, when there is no more output. */
    rest: (): string => told(readRest()),
    text: () => text,
    /** It said already that the answer failed, or that it is whole. */
    hasFailed: () => chunks.isOver() && chunks.ending().type === "failed",
    isProven: () => saysHowItEnds && chunks.ending().type === "end",
    usage: chunks.usage,
    /** What the output itself says of its end, and of text that says nothing that it is whole: the job has completed. */
    ending(): ProviderEvent {
      if (!saysHowItEnds && text !== "") chunks.take({ choices: [{ finish_reason: "stop" }] });
      return chunks.ending();
    },
  };
}

/** `{error}` of a handler, or a server's `{object: "error", message, …}`. */
const isError = (output: object) =>
  ("error" in output && Boolean(output.error)) || ("object" in output && output.object === "error");

function chunkOf({ choices: [first], usage }: Completion): Chunk {
  if (!first) return { choices: [], usage };
  const { message, delta, text, tokens, finish_reason } = first;
  const content = tokens?.join("") ?? (message ?? delta)?.content ?? text;
  return { choices: [{ delta: { content }, finish_reason }], usage };
}

const WRAPPINGS = ["text", "output", "response"];

function wrappedIn(output: object): unknown {
  return Object.entries(output).find(([name, value]) => WRAPPINGS.includes(name) && value !== null)?.[1];
}
