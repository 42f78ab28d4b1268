import type OpenAI from "openai";
import { capabilitiesOf } from "./capabilities.ts";
import { complete } from "./chat-completions.ts";
import { listModels } from "./model-list.ts";
import type { Provider } from "./provider.ts";
import type { Transport } from "./transport.ts";

export const OPENAI_BASE_URL = "https://api.openai.com/v1";

export type OpenAIOptions = { apiKey: string | undefined; baseURL: string; transport: Transport };

/** OpenAI's chat completions, and every server that speaks them. Gives the provider, and the models that it lists. */
export function openai({ apiKey, baseURL, transport }: OpenAIOptions) {
  const call = complete(transport, { url: `${baseURL}/chat/completions`, apiKey });
  const provider: Provider = ({ model, messages, temperature, maxTokens, headers }, signal) => {
    const request: OpenAI.ChatCompletionCreateParamsStreaming = {
      model,
      messages: [...messages],
      stream: true,
      stream_options: { include_usage: true },
      ...(temperature !== undefined && { temperature }),
      ...(maxTokens !== undefined && { [capabilitiesOf(`openai/${model}`).tokenLimit]: maxTokens }),
    };
    return call(request, { headers, signal });
  };

  /** The ids of its models, in the server's order. Throws as `listModels` does. */
  const modelIds = async (signal: AbortSignal): Promise<string[]> => {
    const models = await listModels(transport, { baseURL, apiKey }, signal);
    return models.map(({ id }) => id);
  };

  return { provider, modelIds };
}
