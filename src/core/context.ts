import { AppError } from "./errors.ts";
import type { ModelMessage, Prompt } from "./model.ts";
import { estimateTokens } from "./text.ts";

/** A stored message that a model may be shown. */
export type Shown = { role: "user" | "assistant" | "agent" | "system"; senderId: string | null; content: string };

/** The same with its place in the thread. */
export type Placed = Shown & { seq: number };

/** Every message costs a provider some tokens of its own. */
const PER_MESSAGE = 4;
/** Part of a window that is kept for the answer. */
const ANSWER_SHARE = 0.25;
const ANSWER_MOST = 4096;

/** Estimated tokens of one message in a prompt. */
export const messageTokens = (content: string): number => estimateTokens(content) + PER_MESSAGE;

/** Tokens of a window that may be filled with the conversation. */
export const promptBudget = (window: number): number =>
  window - Math.min(Math.floor(window * ANSWER_SHARE), ANSWER_MOST);

/**
 * What the model is shown of a conversation: the system prompt, then as many of the newest messages as fit, whole, in
 * order and with alternating roles. `newestFirst[0]` is the question. `older` counts what was not even read.
 * Throws `context_too_long` if the question alone does not fit.
 */
export function buildPrompt(
  newestFirst: readonly Shown[],
  { systemPrompt, window, older }: { systemPrompt: string | null; window: number; older: number },
): Prompt {
  let left = promptBudget(window) - (systemPrompt ? messageTokens(systemPrompt) : 0);
  const kept: ModelMessage[] = [];
  for (const message of newestFirst.map(asModelMessage)) {
    const cost = messageTokens(message.content);
    if (cost > left) break;
    left -= cost;
    kept.push(message);
  }
  if (kept.length === 0) {
    throw new AppError("context_too_long", `The message alone is longer than the model's window of ${window} tokens.`);
  }
  // Providers demand a user first, so what stands before the first user message is left out.
  while (kept.length > 1 && kept.at(-1)?.role !== "user") left += messageTokens(kept.pop()?.content ?? "");
  const messages = alternate(kept.reverse());
  if (systemPrompt) messages.unshift({ role: "system", content: systemPrompt });
  return {
    messages,
    report: {
      messages: kept.length,
      omitted: newestFirst.length - kept.length + older,
      estimated_tokens: promptBudget(window) - left,
    },
  };
}

function asModelMessage({ role, senderId, content }: Shown): ModelMessage {
  if (role !== "agent") return { role, content };
  return { role: "assistant", content: `${senderId ?? "agent"}: ${content}` };
}

/** Joins neighbours of one role. */
function alternate(messages: readonly ModelMessage[]): ModelMessage[] {
  const result: ModelMessage[] = [];
  for (const message of messages) {
    const last = result.at(-1);
    if (last?.role === message.role) last.content += `\n\n${message.content}`;
    else result.push({ ...message });
  }
  return result;
}
