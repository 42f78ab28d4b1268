import { z } from "zod";
import { bearer, refusalOf } from "./chat-completions.ts";
import type { Transport } from "./transport.ts";

/** For each question, in milliseconds. */
const ASK_MS = 2_000;

const size = z.number().positive();

// LM Studio's own list: what is loaded may be smaller than what the model could take.
const lmStudio = z.object({
  data: z.array(
    z.object({ id: z.string(), loaded_context_length: size.nullish(), max_context_length: size.nullish() }),
  ),
});
// Ollama tells it of the models that are loaded.
const ollama = z.object({ models: z.array(z.object({ name: z.string(), context_length: size.nullish() })) });
// llama.cpp serves one model.
const llamaCpp = z.object({ default_generation_settings: z.object({ n_ctx: size }) });

type Server = { baseURL: string; apiKey: string | undefined };

/** How large a model's window is, by its id; undefined where the server does not say. */
export type WindowOf = (id: string) => number | undefined;

/**
 * What a server of one's own tells of its models' windows beside the list of OpenAI's API: LM Studio, Ollama and
 * llama.cpp have addresses of their own for it. Never throws: another kind of server tells nothing.
 */
export async function askWindows(transport: Transport, server: Server): Promise<WindowOf> {
  const root = server.baseURL.replace(/\/v1$/, "");
  const ask = async <T>(path: string, schema: z.ZodType<T>): Promise<T | undefined> => {
    const question = { url: root + path, apiKey: server.apiKey, signal: AbortSignal.timeout(ASK_MS) };
    return read(transport, question)
      .then((body) => schema.safeParse(body).data)
      .catch(() => undefined);
  };
  const studio = await ask("/api/v0/models", lmStudio);
  if (studio) {
    const byId = new Map(studio.data.map((model) => [model.id, model]));
    return (id) => byId.get(id)?.loaded_context_length ?? byId.get(id)?.max_context_length ?? undefined;
  }
  const loaded = await ask("/api/ps", ollama);
  if (loaded) {
    const byName = new Map(loaded.models.map(({ name, context_length }) => [name, context_length]));
    return (id) => byName.get(id) ?? byName.get(`${id}:latest`) ?? undefined;
  }
  const props = await ask("/props", llamaCpp);
  return () => props?.default_generation_settings.n_ctx;
}

type Question = { url: string; apiKey: string | undefined; signal: AbortSignal };

async function read(transport: Transport, { url, apiKey, signal }: Question): Promise<unknown> {
  const headers = { accept: "application/json", "accept-encoding": "identity", ...bearer(apiKey) };
  const answer = await transport.send({ url, method: "GET", headers, body: null, signal });
  try {
    if (answer.status >= 300) throw await refusalOf(answer);
    return JSON.parse(await answer.text());
  } finally {
    answer.release();
  }
}
