import type { ModelMessage, PlanOptions, Prompt } from "../core/model.ts";
import type { ProviderRequest } from "./provider.ts";

/** What a model takes. Asked for more, its server answers 400. */
export type Capabilities = {
  /** Tokens that it can take in, answer included. */
  window: number;
  /** Whether that is a fact; otherwise it is a guess, and the model may take more. */
  isWindowKnown: boolean;
  temperature: boolean;
  /** What the limit on an answer's tokens is called. */
  tokenLimit: "max_completion_tokens" | "max_tokens";
  /** Without it the system prompt goes into the first user message. */
  systemRole: boolean;
  /** Whether it gives several answers to one request. Parley asks several times instead. */
  n: boolean;
};

/** A server of one's own, of which nothing is known. */
const ANY: Capabilities = {
  window: 32_768,
  isWindowKnown: false,
  temperature: true,
  tokenLimit: "max_tokens",
  systemRole: true,
  n: true,
};

function holds(window: number) {
  return { window, isWindowKnown: true };
}

const REASONS = { temperature: false, tokenLimit: "max_completion_tokens" } as const;

// From the vendors' model pages; every pattern that fits has its say, later ones over earlier. The windows of OpenAI's
// models are what a turn may fill, less than they hold: a longer prompt costs more than a chat is worth.
const known: readonly [RegExp, Partial<Capabilities>][] = [
  [/^runpod\//, { window: 8_192 }], // a worker that refuses a longer prompt gives a traceback, from which nothing is learned
  [/^groq\//, { ...holds(131_072), tokenLimit: "max_completion_tokens", n: false }],
  [/gpt-oss-/, holds(131_072)],
  [/^openai\/gpt-/, { ...holds(128_000), tokenLimit: "max_completion_tokens" }],
  [/^openai\/gpt-(?!oss)([5-9]|1\d)/, REASONS],
  [/^openai\/gpt-\d[\d.]*-chat/, { temperature: true }],
  [/^openai\/o\d/, { ...REASONS, ...holds(128_000) }],
  [/^openai\/o1-(mini|preview)/, { systemRole: false }],
  // The chat templates of these refuse a system message, wherever they are served.
  [/gemma-(1\.1-)?[27]b|gemma-2-|mistral-7b-instruct-v0\.[12]/i, { systemRole: false }],
];

/** What is known of a target (`provider/model`). */
export function capabilitiesOf(target: string): Capabilities {
  const all = { ...ANY };
  for (const [pattern, some] of known) if (pattern.test(target)) Object.assign(all, some);
  return all;
}

/** The prompt as this model takes it, and of what was asked for what it does not refuse. */
export function requestFor(
  { model, capabilities }: { model: string; capabilities: Capabilities },
  { messages, report }: Prompt,
  { temperature, maxTokens }: PlanOptions = {},
): ProviderRequest {
  const room = Math.max(1, capabilities.window - report.estimated_tokens);
  return {
    model,
    messages: capabilities.systemRole ? messages : withoutSystem(messages),
    ...(temperature !== undefined && capabilities.temperature && { temperature }),
    ...(maxTokens !== undefined && { maxTokens: Math.min(maxTokens, room) }),
  };
}

function withoutSystem(messages: readonly ModelMessage[]): readonly ModelMessage[] {
  const system = messages.filter(({ role }) => role === "system").map(({ content }) => content);
  const [first, ...rest] = messages.filter(({ role }) => role !== "system");
  if (system.length === 0 || !first) return messages;
  return [{ role: "user", content: [...system, first.content].join("\n\n") }, ...rest];
}
