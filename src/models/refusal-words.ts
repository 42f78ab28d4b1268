import type { FailureKind } from "../core/model.ts";

/**
 * What providers mean by their words, where neither a code nor the status says it. The patterns were taken from the
 * public sources and issue threads of the servers named; they are matched against the message, which is never shown.
 */
const MEANINGS: readonly (readonly [FailureKind, RegExp])[] = [
  [
    "content_filter",
    /content[ _-]?(filter|policy|management)|responsible ?ai|safety (system|filter)|flagged|moderation|prohibited content/i,
  ],
  [
    "quota_exhausted", // DeepSeek, Anthropic, OpenAI, OpenRouter, xAI
    /insufficient (balance|quota|funds|credits?)|credit balance|exceeded your current quota|out of credits|more credits|billing|spend(ing)? limit|payment required/i,
  ],
  [
    "context_length", // vLLM, TGI, llama.cpp, LM Studio, Anthropic, Gemini, Mistral, xAI, Groq, Bedrock
    /context[ _-]?(length|window|size)|maximum (context|prompt|model) length|max_model_len|(prompt|input|message)s? (is|are) too long|too many (input )?tokens|input token count|reduce (the length|your (message|prompt)|the size)|`?inputs`? tokens \+|too large for model|exceeds? the (model|available|maximum).{0,40}(token|context|length)|longer than the model|request too large/i,
  ],
  [
    "auth", // Gemini answers 400 for a wrong key
    /api[ _-]?key|unauthori[sz]ed|authentication|credentials|permission denied|access token/i,
  ],
  [
    "model_gone",
    /model\b.{0,120}\b(not (found|exist|available|supported|loaded)|does ?n[o']t exist|no longer|unknown|decommissioned|deprecated|retired|shut ?down)|(unknown|invalid|no such|unsupported) model|no endpoints found|try pulling it/i,
  ],
];

/** What a refusal says by its words; undefined where they say nothing that is known. */
export const meaningOf = (message: string): FailureKind | undefined =>
  MEANINGS.find(([, pattern]) => pattern.test(message))?.[0];

/** Tokens that a server measured: how many it takes in, and how many the prompt had, where it says so. */
export type Measure = { window: number; prompt: number | null };

// The window, and the prompt where it is named.
const MEASURES: readonly RegExp[] = [
  // OpenAI and vLLM: the prompt without what was wanted for the answer
  /maximum (?:context|prompt|model) length (?:is|of) (?<window>[\d,]+)[\s\S]*?\((?<prompt>[\d,]+) in the messages/i,
  // xAI, OpenRouter, vLLM
  /maximum (?:context|prompt|model) length (?:is|of) (?<window>[\d,]+)[\s\S]*?(?:requested|contains|has|resulted in)(?: about)? (?<prompt>[\d,]+)/i,
  /maximum (?:context|prompt|model) length (?:is|of) (?<window>[\d,]+)/i,
  // Anthropic
  /(?<prompt>[\d,]+) tokens? > (?<window>[\d,]+)/i,
  // Gemini
  /input token count\D*(?<prompt>[\d,]+)[\s\S]*?maximum\D*(?<window>[\d,]+)/i,
  // llama.cpp, with the prompt's size and without
  /\((?<prompt>[\d,]+) tokens\)[\s\S]*?context size\D*(?<window>[\d,]+)/i,
  /context size[\s\S]*?\((?<window>[\d,]+) tokens\)/i,
  // LM Studio
  /context length of (?:only )?(?<window>[\d,]+)/i,
  // TGI
  /must be <= (?<window>[\d,]+)[\s\S]*?given: (?<prompt>[\d,]+)/i,
  // Mistral
  /contains (?<prompt>[\d,]+) tokens[\s\S]*?model with (?<window>[\d,]+) maximum context/i,
  // Groq's and OpenAI's tokens a minute
  /limit:? (?<window>[\d,]+)[\s\S]*?requested:? (?<prompt>[\d,]+)/i,
];

/** The measure that a refusal for its length names; undefined where it names none. */
export function measureIn(message: string): Measure | undefined {
  for (const pattern of MEASURES) {
    const { window, prompt } = pattern.exec(message)?.groups ?? {};
    if (window !== undefined) return { window: tokens(window), prompt: prompt === undefined ? null : tokens(prompt) };
  }
  return undefined;
}

const tokens = (text: string) => Number(text.replaceAll(",", ""));
