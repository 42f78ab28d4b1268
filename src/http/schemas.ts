import { z } from "@hono/zod-openapi";
import type { Code } from "../core/errors.ts";
import { absentIfNull } from "./absent.ts";
import { statusOfCode } from "./problems.ts";

/** In KiB of UTF-8. */
const LONGEST_MESSAGE = 128;
const LONGEST_PROMPT = 32;

/** Text of at most so many KiB: what it takes to store and to send, whatever its language. */
const textOf = (most: number) =>
  z
    .string()
    .refine((text) => Buffer.byteLength(text) <= most * 1024, `must be at most ${most} KiB of UTF-8`)
    .openapi({ minLength: 1, maxLength: most * 1024 });

/** Text that both databases can hold: no U+0000, no half of a surrogate pair. The body's text is checked before. */
export const messageText = textOf(LONGEST_MESSAGE)
  .refine((text) => text.trim() !== "", "must not be empty")
  .openapi({ pattern: "\\S", example: "What can you do?" });

/** An id that callers choose. It has no example, which documentation pages would send: most tokens are not that user's. */
export const ownId = z
  .string()
  .min(1)
  .max(255)
  .refine(isStorable, "must be well-formed text")
  .refine((id) => !/^\.{1,2}$/.test(id), "must not be . or .., which no path can name")
  .openapi({ pattern: "^(?!\\.{1,2}$)" });

/** A caller's own id for a user, an agent or a sender. */
export const callerId = ownId.openapi({ example: "alice" });

export function isStorable(text: string): boolean {
  return !text.includes("\0") && text.isWellFormed();
}

/** One of our ids, or any other UUID; kept in lower case, as both databases compare it. */
export const uuid = z
  .string()
  .regex(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i, "must be a UUID")
  .transform((id) => id.toLowerCase())
  .openapi({ type: "string", format: "uuid" });

/** An id in a response. */
export const id = z.string().openapi({ format: "uuid", example: "01990b5e-7c1a-7d2e-9f3a-4b5c6d7e8f90" });

export const time = z.string().openapi({ format: "date-time", example: "2026-01-31T12:00:00.000Z" });

/** A whole number in a query. */
export function count({ min, max, otherwise }: { min: number; max: number; otherwise: number }) {
  return z
    .string()
    .regex(/^\d{1,10}$/, "must be a whole number")
    .default(String(otherwise))
    .transform(Number)
    .pipe(z.int().min(min).max(max))
    .openapi({ type: "integer", minimum: min, maximum: max, default: otherwise });
}

export const userQuery = z.object({
  user_id: ownId
    .optional()
    .openapi({ description: "Whose: the token's own user, unless an agent, an admin or a service asks." }),
});

/** A JSON object of the caller's own, for `bytes` of UTF-8 and `levels` of depth at most. */
export const anyObject = (bytes: number, levels: number) =>
  z
    .unknown() // what is too large is looked at no further: it could hold a mistake for every few bytes
    .refine((value) => Buffer.byteLength(JSON.stringify(value) ?? "") <= bytes, {
      error: `must be at most ${bytes / 1024} KiB of JSON`,
      abort: true,
    })
    .refine((value) => levelsOf(value) <= levels, `must be at most ${levels} levels deep`)
    .refine(keepsItsNumbers, "must hold no whole number beyond 2^53, which has lost digits here; send it as text")
    .pipe(z.record(z.string(), z.json()))
    .openapi({ type: "object", additionalProperties: true });

/** JSON numbers are read as doubles: of a longer whole number, an id of another service say, another one would be stored. */
function keepsItsNumbers(value: unknown): boolean {
  if (typeof value === "object" && value !== null) return Object.values(value).every(keepsItsNumbers);
  return !Number.isInteger(value) || Number.isSafeInteger(value) || Math.abs(Number(value)) >= 1e21;
}

function levelsOf(value: unknown): number {
  if (typeof value !== "object" || value === null) return 0;
  return 1 + Math.max(0, ...Object.values(value).map(levelsOf));
}

/** What every sending route takes beside its message. */
export const turnOptions = {
  model: z
    .string()
    .min(1)
    .max(255)
    .optional()
    .openapi({ description: "An alias (`fast`, `balanced`, `smart`) or `provider/model`.", example: "balanced" }),
  stream: z
    .boolean()
    .optional()
    .openapi({ description: "The answer as server-sent events; `Accept: text/event-stream` asks for the same." }),
  temperature: z.number().min(0).max(2).optional().openapi({
    description: "For this turn only; left out for a model that takes none.",
  }),
  max_tokens: z.int().min(1).max(1_000_000).optional().openapi({ description: "Of the answer, for this turn only." }),
  system_prompt: textOf(LONGEST_PROMPT)
    .min(1)
    .optional()
    .openapi({ description: "What the model is told first, for this turn only." }),
  if_busy: z.enum(["queue", "reject", "interrupt"]).optional().openapi({
    description:
      "What happens while another answer is being made here: the message waits in line (`queue`), is refused (`reject`), or stops what is open (`interrupt`).",
    default: "queue",
  }),
};

/** What a route that streams says of its events. */
export const streamed = {
  "text/event-stream": {
    schema: z.string().openapi({
      description:
        "`turn.started`, `turn.status`, `message.delta`, `message.restart`, and last one of `turn.completed`, `turn.failed`, `turn.cancelled`; or `token.expired`, where the token runs out before: the turn goes on, and its stream is followed with a new one.",
    }),
  },
};

/** What may become of a turn. */
export const turnProblems = [
  "turn_cancelled",
  "conversation_busy",
  "idempotency_mismatch",
  "session_ended",
  "session_with_agent",
  "context_too_long",
  "content_refused",
  "queue_full",
  "quota_exceeded",
  "provider_failed",
  "provider_unavailable",
  "provider_timeout",
] as const satisfies Code[];

export const json = <T extends z.ZodType>(schema: T, description: string) => ({
  description,
  content: { "application/json": { schema } },
});

/** The answer of a turn, whole or as a stream. */
export const answers = <T extends z.ZodType>(schema: T, description: string) => ({
  description,
  content: { "application/json": { schema }, ...streamed },
});

export const body = <T extends z.ZodType>(schema: T) => ({
  required: true,
  content: { "application/json": { schema: absentIfNull(schema) } },
});

/** A body that may be absent altogether. */
export const optionalBody = <T extends z.ZodType>(schema: T) => ({ ...body(schema), required: false });

/** One call to one target, in a turn and where it failed. */
export const attempt = z
  .object({
    target: z.string(),
    outcome: z.string(),
    status: z.int().nullable(),
    ms: z.int(),
    first_token_ms: z.int().nullable().openapi({ description: "Until its text began." }),
  })
  .loose();

export const problemSchema = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    detail: z.string().openapi({ description: "A sentence for a person." }),
    code: z.string().openapi({ description: "For a program." }),
    request_id: z.string(),
    errors: z.array(z.object({ path: z.string(), message: z.string() })).optional(),
    turn_id: z.string().optional(),
    attempts: z.array(attempt).optional(),
  })
  .openapi("Problem");

/** All errors look alike: the document has what they look like once. */
type ProblemResponse = { $ref: "#/components/responses/Problem"; description: string };

type ProblemsOf<C extends Code> = Record<(typeof statusOfCode)[C], ProblemResponse>;

export function problemResponses<C extends Code>(codes: readonly C[]): ProblemsOf<C> {
  const byStatus: Partial<Record<number, ProblemResponse>> = {};
  for (const code of codes) {
    const before = byStatus[statusOfCode[code]]?.description;
    byStatus[statusOfCode[code]] = {
      $ref: "#/components/responses/Problem",
      description: before ? `${before}, \`${code}\`` : `\`${code}\``,
    };
  }
  return byStatus as ProblemsOf<C>;
}

const guarded = [
  ...(["unauthorized", "forbidden", "validation_failed", "rate_limited", "internal_error"] as const),
  "issuer_unavailable",
  "storage_unavailable",
] as const;
const withBody = [
  "malformed_json",
  "request_timeout",
  "payload_too_large",
  "unsupported_media_type",
  "overloaded",
] as const;

/** The responses for what may go wrong on a route, beside what may on every one. */
export const problems = <C extends Code>(...codes: C[]) => problemResponses([...guarded, ...codes]);

/** The same for a route of any method but GET: a body is held to its limits also where none is asked for. */
export const bodyProblems = <C extends Code>(...codes: C[]) => problemResponses([...guarded, ...withBody, ...codes]);

/** The same for a route that needs no token: an open service still refuses a foreign \`Host\`. */
export const publicProblems = problemResponses(["forbidden", "rate_limited", "internal_error"]);
