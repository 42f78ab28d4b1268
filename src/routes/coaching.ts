import { createRoute, z } from "@hono/zod-openapi";
import { getCalled } from "../core/client-ids.ts";
import { createConversation } from "../core/conversations.ts";
import { AppError } from "../core/errors.ts";
import { outcomeOf, wholeAnswer } from "../core/follow.ts";
import { findMessages, type ListedMessage, readMessages } from "../core/messages.ts";
import { beginTurn } from "../core/turns.ts";
import type { Conversation } from "../db/tables.ts";
import { actorOf } from "../http/actor.ts";
import { keyHeader, requestKey } from "../http/idempotency.ts";
import { afterMessage, encodeCursor, linkNext } from "../http/paging.ts";
import { answerInParts, arrayOf } from "../http/parts.ts";
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
  ownId,
  problems,
  time,
  turnOptions,
  turnProblems,
  userQuery,
} from "../http/schemas.ts";
import { wantsStream } from "../http/sse.ts";
import { timeOf } from "../http/time.ts";
import { optionsOf, streamTurn } from "../http/turns.ts";
import { waitFor } from "../http/wait.ts";
import type { Services } from "../services.ts";

const tags = ["Coaching"];
const SHOWN_MESSAGES = 500;
const user_id = callerId.optional();
const chatId = z.string().openapi({ description: "As the request had it." });
const conversation_id = id.openapi({ description: "The same chat's id on every other surface." });

const Response = z
  .object({
    response: z.string(),
    chat_id: z
      .string()
      .openapi({ description: "As the request had it; our own for a chat that was made without one." }),
    conversation_id,
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
    chat_id: chatId,
    conversation_id,
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
  description:
    "`chat_id` may be any string that the client chooses: one that is known goes on, else a chat is made under it for that user. Without one a chat is made with an id of ours. Either is titled by the message.",
  request: {
    query: userQuery,
    headers: keyHeader,
    body: body(
      z.object({ message: messageText, user_id, chat_id: ownId.nullish(), ...turnOptions }).openapi("CoachingGenerate"),
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
  responses: { 200: json(Created, "The chat"), ...bodyProblems("idempotency_mismatch") },
});

const Message = z
  .object({ role: z.enum(["user", "assistant"]), content: z.string(), timestamp: time })
  .openapi("CoachingShownMessage");

const get = createRoute({
  method: "get",
  path: "/api/v1/chats/{chat_id}",
  operationId: "getCoachingChat",
  tags,
  summary: "A chat's newest 500 messages, oldest first",
  description:
    '`chat_id` is ours or the one that the client has made it under. A `Link` header with `rel="next"` leads to older ones.',
  request: { params: z.object({ chat_id: ownId }), query: userQuery.extend({ after: afterMessage }) },
  responses: { 200: json(z.array(Message), "The messages"), ...problems("not_found") },
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
    body: body(z.object({ chat_id: ownId, user_id, content: messageText, ...turnOptions }).openapi("CoachingSend")),
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
    const options = optionsOf(c, actor, body);
    const question = { conversationId: null, clientId: chat_id ?? undefined, content: message, ...options };
    const turn = await beginTurn(turns, actor, question);
    if (wantsStream(c, body)) return streamTurn(c, { turns, log }, turn);
    const answer = await waitFor(c, wholeAnswer(turns, turn));
    const { conversationId, turnId, answerId } = answer.turn;
    const response = {
      response: answer.content,
      chat_id: chat_id ?? conversationId,
      conversation_id: conversationId,
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
    const made = { title: null, now: clock(), key: requestKey(c, actor, body), respond };
    return c.json(await createConversation(db, actor, made), 200);
  });

  router.openapi(get, async (c) => {
    const { user_id, after } = c.req.valid("query");
    const actor = actorOf(c, user_id);
    const conversationId = await getCalled(db, actor, c.req.valid("param").chat_id);
    const { span, next } = await findMessages(db, actor, { conversationId, limit: SHOWN_MESSAGES, before: after });
    linkNext(c, next === null ? null : encodeCursor([next]));
    return answerInParts(c, arrayOf(readMessages(db, actor, span), toMessage), { user: actor.self, log });
  });

  router.openapi(send, async (c) => {
    const body = c.req.valid("json");
    const { chat_id, user_id, content } = body;
    const actor = actorOf(c, user_id);
    const conversationId = await getCalled(db, actor, chat_id);
    const turn = await beginTurn(turns, actor, { conversationId, content, ...optionsOf(c, actor, body) });
    if (wantsStream(c, body)) return streamTurn(c, { turns, log }, turn);
    const outcome = await waitFor(c, outcomeOf(turns, turn));
    const { turnId, answerId } = outcome instanceof AppError ? turn : outcome.turn;
    const shared = { chat_id, conversation_id: conversationId, user_id: actor.userId, turn_id: turnId };
    if (!(outcome instanceof AppError)) {
      const { content, model } = outcome;
      return c.json({ status: "success" as const, message_id: answerId, ...shared, content, model }, 200);
    }
    if (!outcome.code.startsWith("provider_")) throw outcome;
    const error = { code: outcome.code, detail: outcome.message };
    const sent = { status: "partial_success" as const, message_id: turn.questionId, ...shared, content, error };
    return c.json(sent, 200);
  });

  return router;
}

function toMessage({ role, content, createdAt }: ListedMessage): z.infer<typeof Message> {
  return { role: role === "user" ? "user" : "assistant", content, timestamp: timeOf(createdAt) };
}
