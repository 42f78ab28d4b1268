import OpenAI from "openai";
import { complete } from "./chat-completions.ts";
import type { Provider } from "./provider.ts";
import { fetchOver, type Transport } from "./transport.ts";

export const OPENAI_BASE_URL = "https://api.openai.com/v1";

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

  /** Model ids in the server's order. Throws where it cannot be asked. `ms` bounds the wait. */
  const listModels = async (ms: number): Promise<string[]> => {
    const client = new OpenAI({
      apiKey: apiKey ?? "none", // the client insists on one; servers without keys ignore it
      adminAPIKey: null,
      organization: null,
      project: null,
      baseURL,
      maxRetries: 0,
      logLevel: "off",
      fetch: fetchOver(transport),
    });
    const page = await client.models.list({ signal: AbortSignal.timeout(ms) });
    return page.data.map((model) => model.id);
  };

  return { provider, listModels };
}
