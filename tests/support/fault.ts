import type { Script } from "./provider.ts";
import type { Script as RunpodScript } from "./runpod.ts";
import { KEY as RUNPOD_KEY, TRACEBACK } from "./runpod-outputs.ts";

export type Part = "openai" | "groq" | "runpod";

/** What no response and no log line may ever show: the keys of the service, and the providers' own words. */
export const KEYS = { openai: "sk-marker-of-openai", groq: "gsk-marker-of-groq", runpod: RUNPOD_KEY };
export const WORDS = "marker of a provider's words";
export const SECRETS = [...Object.values(KEYS), WORDS, TRACEBACK, "Traceback", "CUDA"];

/** In milliseconds, as the service is told them. */
export type Timers = { first: number; last: number; idle: number; turn: number };

/** Of these none runs out, however slow the machine is. */
export const PATIENT: Timers = { first: 60_000, last: 60_000, idle: 60_000, turn: 120_000 };

/**
 * What a case shortens of them: the one that is to run out, and no other, so that a slow machine changes nothing. The
 * first is several times the pause between two polls of a queued job.
 */
export const SHORT = {
  first: { first: 5_000 },
  both: { first: 1_500, last: 5_000 },
  idle: { idle: 10_000 },
  turn: { turn: 8_000 },
} as const satisfies Record<string, Partial<Timers>>;

/** The whole answers. A code unit is not a character, and a stream counts the former. */
export const ANSWERS = {
  openai: ["The primary ", "answers ", "🌊 whole."],
  groq: ["The secondary ", "steps ", "in 🐚 whole."],
  runpod: ["The worker ", "woke 🐙 ", "up."],
} as const satisfies Record<Part, readonly string[]>;

export type Phase = "connecting" | "waiting" | "streaming" | "sleeping" | "queued";

export type Fault = {
  what: string;
  /** In order of trial; the first two unless it is told otherwise. */
  chain?: readonly Part[];
  /** What they do on the n-th request, from 1; healthy without. */
  openai?: Script | ((nth: number) => Script);
  groq?: Script | ((nth: number) => Script);
  runpod?: RunpodScript;
  /** Cancelled as soon as it is there. */
  cancel?: Phase;
  /** It fails in two turns, then its provider recovers; the turn that is told comes once it is on trial. */
  recovers?: Part;
  /** Changes what the endpoint tells of its workers, so it has to be alone. */
  alone?: true;
  /** The target whose whole answer is told; or how it fails, and the text that is kept. */
  ends: Part | { code: Code; kept?: RegExp };
  /** The ledger of the turn, in order. */
  attempts: readonly string[];
  /** Requests that each was sent, where the ledger of the last turn does not say it. */
  asked?: Partial<Record<Part, unknown>>;
  /** That its stream told, in any number. */
  statuses?: readonly string[];
  /** Times that its stream begins anew. */
  restarts?: number;
  /** Seconds after which a refused caller is told to come back, at least. */
  retryAfter?: number;
  /** Which timers are short for it. */
  timers?: keyof typeof SHORT;
};

export const STATUS = {
  provider_failed: 502,
  provider_unavailable: 503,
  provider_timeout: 504,
  context_too_long: 422,
  content_refused: 422,
  turn_cancelled: 409,
} as const;
type Code = keyof typeof STATUS;

export const NEVER = Number.POSITIVE_INFINITY;
export const HALF = ["Half ", "an "];
export const UNAVAILABLE = { code: "provider_unavailable" } as const;
export const TIMEOUT = { code: "provider_timeout" } as const;
export const FAILED = { code: "provider_failed" } as const;
export const CANCELLED = { code: "turn_cancelled" } as const;
export const thrice = (attempt: string) => [attempt, attempt, attempt];

export const error = (code: string) => ({
  error: { message: `${WORDS}: ${KEYS.openai}`, type: "error", param: WORDS, code },
});
export const says = (status: number, code = "server_error", headers: Record<string, string> = {}): Script => ({
  status,
  headers,
  error: error(code),
});
export const limited = (retryAfter: string) => says(429, "rate_limit_exceeded", { "retry-after": retryAfter });
export const once =
  (script: Script) =>
  (nth: number): Script =>
    nth === 1 ? script : {};
export const half = (rest: Script): Script => ({ text: [...HALF, ""], every: 40, ...rest });
export const oneOnly = ["openai"] as const;

/** As a model's name, and as an alias. */
export const slugOf = ({ what }: Fault) => what.toLowerCase().replace(/\W+/g, "-");
export const chainOf = ({ chain = ["openai", "groq"] }: Fault) => chain;
