import Groq from "groq-sdk";
import { readCompletion } from "./chat-completions.ts";
import type { Provider } from "./provider.ts";
import type { Transport } from "./transport.ts";

/** Without `/openai/v1`, which the client adds. */
export const GROQ_BASE_URL = "https://api.groq.com";

/** Groq's chat completions. */
export function groq({
  apiKey,
  baseURL,
  transport,
}: {
  apiKey: string;
  baseURL: string;
  transport: Transport;
}): Provider {
  const client = new Groq({
    apiKey,
    baseURL,
    maxRetries: 0,
    timeout: 2 ** 31 - 1, // milliseconds; the dispatch keeps the time
    logLevel: "off",
    fetch: transport.fetch,
  });
  return async function* ({ model, messages }, signal) {
    const response = await client.chat.completions
      .create({ model, messages: [...messages], stream: true }, { signal })
      .asResponse();
    yield* readCompletion(transport.open(response));
  };
}
