import { createRoute, z } from "@hono/zod-openapi";
import { createConversation } from "../core/conversations.ts";
import { AppError } from "../core/errors.ts";
import { outcomeOf, wholeAnswer } from "../core/follow.ts";
import { beginTurn } from "../core/turns.ts";
import type { Conversation } from "../db/tables.ts";
import { actorOf } from "../http/actor.ts";
import { keyHeader, requestKey } from "../http/idempotency.ts";
import { createRouter } from "../http/router.ts";
import {
  answers,
  body,
  bodyProblems,
  callerId,
  id,
  json,
  messageText,
  optionalBody,
  turnOptions,
  turnProblems,
  userQuery,
  uuid,
} from "../http/schemas.ts";
import { wantsStream } from "../http/sse.ts";
import { optionsOf, streamTurn } from "../http/turns.ts";
import { waitFor } from "../http/wait.ts";
import type { Services } from "../services.ts";

const tags = ["Coaching"];
const user_id = callerId.optional();

const Response = z
  .object({
    response: z.string(),
    chat_id: id,
    turn_id: id,
    message_id: id.openapi({ description: "The answer's." }),
    model: z.string().openapi({ description: "What answered, as `provider/model`." }),
  })
  .openapi("CoachingResponse");

const Created = z.object({ chat_id: id }).openapi("CoachingChat");

const Sent = z
  .object({
    status: z.enum(["success", "partial_success"]),
    message_id: id.openapi({ description: "The answer's; the user's own where no provider answered." }),
    chat_id: id,
    user_id: callerId,
    content: z.string().openapi({ description: "The answer; the user's own text where no provider answered." }),
    turn_id: id,
    model: z.string().optional().openapi({ description: "What answered, as `provider/model`." }),
    error: z
      .object({ code: z.string(), detail: z.string() })
      .optional()
      .openapi({ description: "Why no provider answered." }),
  })
  .openapi("CoachingMessage");

const generate = createRoute({
  method: "post",
  path: "/generate-response",
  operationId: "generateResponse",
  tags,
  summary: "Send a message and get the answer",
  description: "Without `chat_id` a chat is made, and titled by the message.",
  request: {
    query: userQuery,
    headers: keyHeader,
    body: body(
      z.object({ message: messageText, user_id, chat_id: uuid.nullish(), ...turnOptions }).openapi("CoachingGenerate"),
    ),
  },
  responses: { 200: answers(Response, "The answer"), ...bodyProblems("not_found", ...turnProblems) },
});

const create = createRoute({
  method: "post",
  path: "/api/v1/chats",
  operationId: "createCoachingChat",
  tags,
  summary: "Make a chat",
  request: {
    query: userQuery,
    headers: keyHeader,
    body: optionalBody(z.object({ user_id }).openapi("CoachingCreate")),
  },
  responses: { 201: json(Created, "The chat"), ...bodyProblems("idempotency_mismatch") },
});

const send = createRoute({
  method: "post",
  path: "/api/v1/chat/message",
  operationId: "sendCoachingMessage",
  tags,
  summary: "Send a message to a chat; where no provider answers, it is stored all the same",
  request: {
    query: userQuery,
    headers: keyHeader,
    body: body(z.object({ chat_id: uuid, user_id, content: messageText, ...turnOptions }).openapi("CoachingSend")),
  },
  responses: {
    200: answers(Sent, "The answer, or `partial_success` with the stored message and the reason"),
    ...bodyProblems("not_found", ...turnProblems),
  },
});

/** WIRE section 6: the routes of the coaching API. */
export function coaching({ db, turns, clock, log }: Services) {
  const router = createRouter();

  router.openapi(generate, async (c) => {
    const body = c.req.valid("json");
    const { message, user_id, chat_id } = body;
    const actor = actorOf(c, user_id);
    const question = { conversationId: chat_id ?? null, content: message, ...optionsOf(c, actor, body) };
    const turn = await beginTurn(turns, actor, question);
    if (wantsStream(c, body)) return streamTurn(c, { turns, log }, turn);
    const answer = await waitFor(c, wholeAnswer(turns, turn));
    const { conversationId, turnId, answerId } = turn;
    const response = {
      response: answer.content,
      chat_id: conversationId,
      turn_id: turnId,
      message_id: answerId,
      model: answer.model,
    };
    return c.json(response, 200);
  });

  router.openapi(create, async (c) => {
    const body = c.req.valid("json");
    const actor = actorOf(c, body.user_id);
    const respond = ({ id }: Conversation) => ({ chat_id: id });
    const made = { title: null, now: clock(), key: requestKey(c, actor, body), respond, read: Created.parse };
    return c.json(await createConversation(db, actor, made), 201);
  });

  router.openapi(send, async (c) => {
    const body = c.req.valid("json");
    const { chat_id, user_id, content } = body;
    const actor = actorOf(c, user_id);
    const question = { conversationId: chat_id, content, ...optionsOf(c, actor, body) };
    const turn = await beginTurn(turns, actor, question);
    if (wantsStream(c, body)) return streamTurn(c, { turns, log }, turn);
    const outcome = await waitFor(c, outcomeOf(turns, turn));
    const shared = { chat_id, user_id: actor.userId, turn_id: turn.turnId };
    if (!(outcome instanceof AppError)) {
      const { content, model } = outcome;
      return c.json({ status: "success" as const, message_id: turn.answerId, ...shared, content, model }, 200);
    }
    if (!outcome.code.startsWith("provider_")) throw outcome;
    const error = { code: outcome.code, detail: outcome.message };
    const sent = { status: "partial_success" as const, message_id: turn.questionId, ...shared, content, error };
    return c.json(sent, 200);
  });

  return router;
}
