import { createRoute, z } from "@hono/zod-openapi";
import { getConversation, type ListedConversation, listConversations } from "../core/conversations.ts";
import { wholeAnswer } from "../core/follow.ts";
import { findMessages, type ListedMessage, readMessages } from "../core/messages.ts";
import { beginTurn } from "../core/turns.ts";
import { actorOf } from "../http/actor.ts";
import { keyHeader } from "../http/idempotency.ts";
import { afterConversation, afterMessage, encodeCursor, linkNext } from "../http/paging.ts";
import { answerInParts, objectWith } from "../http/parts.ts";
import { createRouter } from "../http/router.ts";
import {
  answers,
  body,
  bodyProblems,
  callerId,
  id,
  json,
  messageText,
  problems,
  time,
  turnOptions,
  turnProblems,
  userQuery,
  uuid,
} from "../http/schemas.ts";
import { wantsStream } from "../http/sse.ts";
import { timeOf } from "../http/time.ts";
import { optionsOf, streamTurn } from "../http/turns.ts";
import { waitFor } from "../http/wait.ts";
import type { Services } from "../services.ts";

const tags = ["Send"];
const LISTED_CONVERSATIONS = 50;
const LISTED_MESSAGES = 500;

const Sent = z
  .object({
    conversation_id: id,
    message: z.string().openapi({ description: "The answer." }),
    timestamp: time,
    message_id: id.openapi({ description: "The answer's." }),
    turn_id: id,
    model: z.string().openapi({ description: "What answered, as `provider/model`." }),
  })
  .openapi("SendAnswer");

const Summary = z
  .object({
    id,
    title: z.string().nullable(),
    last_message: z.string().nullable().openapi({ description: "Its first 200 characters." }),
    updated_at: time,
  })
  .openapi("SendSummary");

const SummaryList = z.object({ conversations: z.array(Summary) }).openapi("SendList");

const Whole = z
  .object({
    id,
    title: z.string().nullable(),
    messages: z.array(
      z.object({ role: z.enum(["user", "assistant"]), content: z.string(), timestamp: time }).openapi("SendMessage"),
    ),
  })
  .openapi("SendConversation");

const sendMessage = createRoute({
  method: "post",
  path: "/api/chat/send",
  operationId: "sendMessage",
  tags,
  summary: "Send a message and get the answer",
  description: "Without `conversation_id` a conversation is made, and titled by the message.",
  request: {
    query: userQuery,
    headers: keyHeader,
    body: body(
      z.object({
        message: messageText,
        conversation_id: z
          .union([uuid, z.literal("")])
          .nullish()
          .openapi({ description: "Empty, as some clients send it, is none." }),
        user_id: callerId.optional(),
        ...turnOptions,
      }),
    ),
  },
  responses: { 200: answers(Sent, "The answer"), ...bodyProblems("not_found", ...turnProblems) },
});

const list = createRoute({
  method: "get",
  path: "/api/chat/conversations",
  operationId: "listSendConversations",
  tags,
  summary: "The newest 50 conversations, the last touched first",
  description: 'A `Link` header with `rel="next"` leads to older ones.',
  request: { query: userQuery.extend({ after: afterConversation }) },
  responses: { 200: json(SummaryList, "The conversations"), ...problems() },
});

const get = createRoute({
  method: "get",
  path: "/api/chat/conversations/{id}",
  operationId: "getSendConversation",
  tags,
  summary: "A conversation with its newest 500 messages, oldest first",
  request: { params: z.object({ id: uuid }), query: userQuery.extend({ after: afterMessage }) },
  responses: { 200: json(Whole, "The conversation"), ...problems("not_found") },
});

/** WIRE section 5. */
export function send({ db, turns, log }: Services) {
  const router = createRouter();

  router.openapi(sendMessage, async (c) => {
    const body = c.req.valid("json");
    const { message, conversation_id, user_id } = body;
    const actor = actorOf(c, user_id);
    const question = { conversationId: conversation_id || null, content: message, ...optionsOf(c, actor, body) };
    const turn = await beginTurn(turns, actor, question);
    if (wantsStream(c, body)) return streamTurn(c, { turns, log }, turn);
    const answer = await waitFor(c, wholeAnswer(turns, turn));
    const sent = {
      conversation_id: turn.conversationId,
      message: answer.content,
      timestamp: timeOf(answer.completedAt),
      message_id: answer.turn.answerId,
      turn_id: answer.turn.turnId,
      model: answer.model,
    };
    return c.json(sent, 200);
  });

  router.openapi(list, async (c) => {
    const { user_id, after } = c.req.valid("query");
    const actor = actorOf(c, user_id);
    const page = await listConversations(db, actor, { limit: LISTED_CONVERSATIONS, after });
    linkNext(c, page.next && encodeCursor([page.next.updatedAt, page.next.id]));
    return c.json({ conversations: page.rows.map(toSummary) }, 200);
  });

  router.openapi(get, async (c) => {
    const { user_id, after } = c.req.valid("query");
    const { id } = c.req.valid("param");
    const actor = actorOf(c, user_id);
    const [{ title }, { span, next }] = await Promise.all([
      getConversation(db, actor, id),
      findMessages(db, actor, { conversationId: id, limit: LISTED_MESSAGES, before: after }),
    ]);
    linkNext(c, next === null ? null : encodeCursor([next]));
    const messages = { parts: readMessages(db, actor, span), toJson: toMessage };
    return answerInParts(c, objectWith({ id, title }, "messages", messages), { user: actor.self, log });
  });

  return router;
}

function toSummary(row: ListedConversation): z.infer<typeof Summary> {
  return { id: row.id, title: row.title, last_message: row.lastMessage, updated_at: timeOf(row.updatedAt) };
}

function toMessage({ role, content, createdAt }: ListedMessage): z.infer<typeof Whole>["messages"][number] {
  return { role: role === "user" ? "user" : "assistant", content, timestamp: timeOf(createdAt) };
}
