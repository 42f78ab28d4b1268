import type OpenAI from "openai";
import { z } from "zod";
import { bearer, complete } from "./chat-completions.ts";
import type { Provider } from "./provider.ts";
import type { Transport } from "./transport.ts";

export const OPENAI_BASE_URL = "https://api.openai.com/v1";

const modelList = z.object({ data: z.array(z.object({ id: z.string() })) });

export type OpenAIOptions = { apiKey: string | undefined; baseURL: string; transport: Transport };

/** OpenAI's chat completions, and every server that speaks them. Gives the provider, and the models that it lists. */
export function openai({ apiKey, baseURL, transport }: OpenAIOptions) {
  const call = complete(transport, { url: `${baseURL}/chat/completions`, apiKey });
  const provider: Provider = ({ model, messages }, signal) => {
    const request: OpenAI.ChatCompletionCreateParamsStreaming = {
      model,
      messages: [...messages],
      stream: true,
      stream_options: { include_usage: true },
    };
    return call(request, signal);
  };

  /** Model ids in the server's order. Throws where it cannot be asked, and when `signal` aborts. */
  const listModels = async (signal: AbortSignal): Promise<string[]> => {
    const headers = { accept: "application/json", ...bearer(apiKey) };
    const answer = await transport.send({ url: `${baseURL}/models`, method: "GET", headers, body: null, signal });
    try {
      return modelList.parse(JSON.parse(await answer.text())).data.map((model) => model.id);
    } finally {
      answer.release();
    }
  };

  return { provider, listModels };
}
