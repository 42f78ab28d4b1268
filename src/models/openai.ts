import type OpenAI from "openai";
import { capabilitiesOf } from "./capabilities.ts";
import { complete } from "./chat-completions.ts";
import { kindOfError, refusedField, statusOf, wordsOf } from "./failures.ts";
import { listModels } from "./model-list.ts";
import type { Provider, ProviderRequest } from "./provider.ts";
import { askWindows } from "./server-windows.ts";
import type { Transport } from "./transport.ts";

export const OPENAI_BASE_URL = "https://api.openai.com/v1";

export type OpenAIOptions = { apiKey: string | undefined; baseURL: string; transport: Transport };

/** OpenAI's chat completions, and every server that speaks them. Gives the provider, and the models that it lists. */
export function openai({ apiKey, baseURL, transport }: OpenAIOptions) {
  const call = complete(transport, { url: `${baseURL}/chat/completions`, apiKey });
  // Asks for usage at the end of the stream. A few servers refuse the field; what this one does shows at its first answer.
  let usage: "unknown" | "taken" | "refused" = "unknown";

  const provider: Provider = async function* (asked, signal) {
    const { headers } = asked;
    const request = requestOf(asked);
    if (usage !== "refused") {
      try {
        for await (const event of call({ ...request, ...WITH_USAGE }, { headers, signal })) {
          usage = "taken";
          yield event;
        }
        return;
      } catch (error) {
        if (usage === "taken" || !mayRefuseUsage(error)) throw error;
      }
    }
    for await (const event of call(request, { headers, signal })) {
      usage = "refused"; // without the field it answers
      yield event;
    }
  };

  const server = { baseURL, apiKey };
  return {
    provider,
    /** Its models, in the server's order. Throws as `listModels` does. */
    models: (signal: AbortSignal) => listModels(transport, server, signal),
    /** How large their windows are, where the list does not say. Never throws. */
    windows: () => askWindows(transport, server),
  };
}

const WITH_USAGE = { stream_options: { include_usage: true } };

function requestOf({ model, messages, temperature, maxTokens }: ProviderRequest): object {
  const request: OpenAI.ChatCompletionCreateParamsStreaming = {
    model,
    messages: [...messages],
    stream: true,
    ...(temperature !== undefined && { temperature }),
    ...(maxTokens !== undefined && { [capabilitiesOf(`openai/${model}`).tokenLimit]: maxTokens }),
  };
  return request;
}

/** A refusal that names the field, or one that does not say what it refuses. */
function mayRefuseUsage(error: unknown): boolean {
  const status = statusOf(error);
  if (status !== 400 && status !== 422) return false;
  const said = `${refusedField(error) ?? ""} ${wordsOf(error)}`;
  if (/stream_options|include_usage/.test(said)) return true;
  return refusedField(error) === undefined && kindOfError(error, "bad_request") === "bad_request";
}
