import type { ChatCompletionCreateParamsStreaming } from "groq-sdk/resources/chat/completions";
import { complete } from "./chat-completions.ts";
import type { Provider } from "./provider.ts";
import type { Transport } from "./transport.ts";

/** Without `/openai/v1`. */
export const GROQ_BASE_URL = "https://api.groq.com";

/** Groq's chat completions. It sends usage unasked. */
export function groq(options: { apiKey: string; baseURL: string; transport: Transport }): Provider {
  const { apiKey, baseURL, transport } = options;
  const call = complete(transport, { url: `${baseURL}/openai/v1/chat/completions`, apiKey });
  return ({ model, messages, temperature, maxTokens, headers }, signal) => {
    const request: ChatCompletionCreateParamsStreaming = {
      model,
      messages: [...messages],
      stream: true,
      ...(temperature !== undefined && { temperature }),
      ...(maxTokens !== undefined && { max_completion_tokens: maxTokens }),
    };
    return call(request, { headers, signal });
  };
}
