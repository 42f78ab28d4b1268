import type { ModelMessage } from "../core/model.ts";
import type { ProviderRequest } from "./provider.ts";

export type RunpodInput = "messages" | "prompt";

/** Workers stop at 100 tokens where they are not told; this is what a prompt leaves free in the smallest window. */
const ANSWER_TOKENS = 2_048;

const NAMES = { system: "System", user: "User", assistant: "Assistant" } as const satisfies Record<
  ModelMessage["role"],
  string
>;

/** The input of a job, as a worker takes it: messages, or one prompt. */
export function inputOf({ messages, temperature, maxTokens }: ProviderRequest, form: RunpodInput) {
  const sampling_params = {
    max_tokens: maxTokens ?? ANSWER_TOKENS,
    ...(temperature !== undefined && { temperature }),
  };
  if (form === "messages") return { messages, sampling_params, stream: true };
  // A model that knows no roles would go on to write the user's next words itself.
  return {
    prompt: promptFrom(messages),
    sampling_params: { ...sampling_params, stop: [`\n${NAMES.user}:`] },
    stream: true,
  };
}

/** The conversation as plain text, which ends where the assistant is to go on. */
export function promptFrom(messages: readonly ModelMessage[]): string {
  const said = messages.map(({ role, content }) => `${NAMES[role]}: ${content}\n\n`);
  return `${said.join("")}${NAMES.assistant}:`;
}
