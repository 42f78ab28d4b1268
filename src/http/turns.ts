import { z } from "@hono/zod-openapi";
import type { Context } from "hono";
import { followTurn } from "../core/follow.ts";
import type { Actor } from "../core/identity.ts";
import type { LiveTurn, SeenTurn, TurnDeps, TurnRef, TurnState } from "../core/live.ts";
import type { Place, TurnEvent } from "../core/progress.ts";
import type { TurnOptions } from "../db/tables.ts";
import type { HttpEnv } from "./env.ts";
import { requestKey } from "./idempotency.ts";
import { claimStream } from "./open-streams.ts";
import { attempt, id, time, type turnOptions } from "./schemas.ts";
import { eventStream, frame, wantsStream } from "./sse.ts";
import { timeOf } from "./time.ts";

/** What every surface says of a turn. */

export const Turn = z
  .object({
    id,
    conversation_id: id,
    user_message_id: id,
    message_id: id.openapi({ description: "The answer's." }),
    status: z.enum(["queued", "in_progress", "completed", "incomplete", "failed"]),
    model: z.string().openapi({ description: "As it was asked for." }),
    target: z.string().nullable().openapi({ description: "What answered, as `provider/model`." }),
    finish_reason: z.string().nullable(),
    usage: z.object({ input_tokens: z.int(), output_tokens: z.int(), estimated: z.boolean() }).nullable(),
    cost_usd: z.number().nullable(),
    attempts: z.array(attempt),
    error: z.object({ code: z.string(), detail: z.string() }).nullable(),
    context: z
      .object({ messages: z.int(), omitted: z.int(), estimated_tokens: z.int() })
      .nullable()
      .openapi({ description: "What the model was shown of the conversation, and how much was left out." }),
    request_id: z
      .string()
      .nullable()
      .openapi({ description: "The `X-Request-Id` of the request that asked for it, as log lines have it." }),
    created_at: time,
    completed_at: time.nullable(),
  })
  .openapi("Turn");

export function toTurn(turn: TurnState): z.infer<typeof Turn> {
  return {
    id: turn.id,
    conversation_id: turn.conversationId,
    user_message_id: turn.userMessageId,
    message_id: turn.messageId,
    status: turn.status,
    model: turn.model,
    target: turn.target,
    finish_reason: turn.finishReason,
    usage: turn.usage,
    cost_usd: turn.cost,
    // The first versions did not store when its text began.
    attempts: turn.attempts?.map((one) => ({ ...one, first_token_ms: one.first_token_ms ?? null })) ?? [],
    error: turn.error,
    context: turn.context,
    request_id: turn.requestId,
    created_at: timeOf(turn.createdAt),
    completed_at: turn.completedAt === null ? null : timeOf(turn.completedAt),
  };
}

type Options = z.infer<z.ZodObject<typeof turnOptions>>;

/** How a turn is to be begun, from what every sending route takes. Throws 429 for a stream where too many are open. */
export function optionsOf(c: Context<HttpEnv>, actor: Actor, body: Options) {
  if (wantsStream(c, body)) claimStream(c, actor.self);
  return {
    model: body.model,
    ifBusy: body.if_busy,
    key: requestKey(c, actor, body),
    options: turnOptionsOf(body),
    trace: c.get("trace"),
    requestId: c.get("requestId"),
  };
}

function turnOptionsOf({ temperature, max_tokens, system_prompt }: Options): TurnOptions | null {
  const options: TurnOptions = {
    ...(temperature !== undefined && { temperature }),
    ...(max_tokens !== undefined && { maxTokens: max_tokens }),
    ...(system_prompt !== undefined && { systemPrompt: system_prompt }),
  };
  return Object.keys(options).length > 0 ? options : null;
}

type Deps = { turns: TurnDeps; log: { error(fields: object, message: string): void } };

/** Answers with a turn as it happens, from its start or from a place in its answer. */
export function streamTurn(
  c: Context<HttpEnv>,
  { turns, log }: Deps,
  turn: SeenTurn | LiveTurn,
  from: Place | null = null,
): Response {
  async function* texts(signal: AbortSignal): AsyncGenerator<string> {
    yield from ? ":\n\n" : frame({ event: "turn.started", data: startOf(turn) });
    for await (const events of followTurn(turns, turn, { from, signal })) yield events.map(frameOf).join("");
  }
  return eventStream(c, texts, { log });
}

const startOf = (turn: TurnRef) => ({
  turn_id: turn.turnId,
  conversation_id: turn.conversationId,
  user_message_id: turn.questionId,
  message_id: turn.answerId,
  model: turn.model,
});

function frameOf(event: TurnEvent): string {
  switch (event.type) {
    case "status":
      return frame({ event: "turn.status", data: { status: event.status } });
    case "delta":
      return frame({ event: "message.delta", id: idOf(event.to), data: { text: event.text } });
    case "restart":
      return frame({ event: "message.restart", id: idOf(event.to), data: { reason: event.reason } });
    case "ended": {
      const { turn } = event.ended;
      return frame({ event: endingOf(turn), id: `${event.n}-end`, data: toTurn(turn) });
    }
  }
}

const idOf = ({ n, offset }: Place) => `${n}-${offset}`;

function endingOf({ status, error }: TurnState): string {
  if (status === "completed") return "turn.completed";
  return error?.code === "turn_cancelled" ? "turn.cancelled" : "turn.failed";
}
