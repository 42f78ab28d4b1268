import { z } from "zod";
import { bearer, refusalOf } from "./chat-completions.ts";
import type { Transport } from "./transport.ts";

export type ListedModel = {
  id: string;
  /** The day on which it is announced to be switched off, as `2027-01-31`. */
  shutdown: string | null;
  /** Tokens that it takes in, where the server says so. */
  window: number | null;
};

// A date, or seconds since 1970; what is neither is not believed.
const day = z
  .union([z.string(), z.number().transform((seconds) => new Date(seconds * 1000).toISOString())])
  .transform((text) => /^\d{4}-\d{2}-\d{2}/.exec(text)?.[0] ?? null)
  .nullish()
  .catch(null);

const size = z.number().positive().nullish().catch(null);

const list = z.object({
  data: z.array(
    z.object({
      id: z.string(),
      shutdown_date: day,
      // The same under the names of vLLM, Groq, OpenRouter and Together, Mistral.
      max_model_len: size,
      context_window: size,
      context_length: size,
      max_context_length: size,
    }),
  ),
});

/**
 * The models of a server that speaks OpenAI's API, in its order; `baseURL` is with `/v1`. Throws where it cannot be asked
 * or refuses, with its HTTP status if it had one, and when `signal` aborts.
 */
export async function listModels(
  transport: Transport,
  { baseURL, apiKey }: { baseURL: string; apiKey: string | undefined },
  signal: AbortSignal,
): Promise<ListedModel[]> {
  const headers = { accept: "application/json", "accept-encoding": "identity", ...bearer(apiKey) };
  const answer = await transport.send({ url: `${baseURL}/models`, method: "GET", headers, body: null, signal });
  try {
    if (answer.status >= 300) throw await refusalOf(answer);
    const { data } = read(await answer.text());
    return data.map((model) => ({
      id: model.id,
      shutdown: model.shutdown_date ?? null,
      window: model.max_model_len ?? model.context_window ?? model.context_length ?? model.max_context_length ?? null,
    }));
  } finally {
    answer.release();
  }
}

const NO_LIST = "no_list_of_models";

/** What is answered with 200 and is no list is a page, or an error in other words: nothing is there either. */
function read(text: string): z.output<typeof list> {
  try {
    return list.parse(JSON.parse(text));
  } catch (error) {
    throw Object.assign(new Error("what was answered is no list of models", { cause: error }), { code: NO_LIST });
  }
}

/** Whether there is no list of models at the address that was asked. */
export const isNothingThere = (error: unknown): boolean =>
  error instanceof Error &&
  (("status" in error && error.status === 404) || ("code" in error && error.code === NO_LIST));
