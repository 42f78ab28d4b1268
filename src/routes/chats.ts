import { createRoute, z } from "@hono/zod-openapi";
import { deleteConversation } from "../core/conversation-deletion.ts";
import {
  countConversations,
  createConversation,
  getConversation,
  type ListedConversation,
  listConversations,
  renameConversation,
} from "../core/conversations.ts";
import { wholeAnswer } from "../core/follow.ts";
import { stopLive } from "../core/live.ts";
import { findMessages, type ListedMessage, readMessages } from "../core/messages.ts";
import { isVisible } from "../core/text.ts";
import { beginTurn } from "../core/turns.ts";
import { actorOf } from "../http/actor.ts";
import { keyHeader, requestKey } from "../http/idempotency.ts";
import { afterConversation, afterMessage, encodeCursor, linkNext } from "../http/paging.ts";
import { answerInParts, arrayOf } from "../http/parts.ts";
import { createRouter } from "../http/router.ts";
import {
  answers,
  body,
  bodyProblems,
  callerId,
  count,
  id,
  json,
  messageText,
  optionalBody,
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

const tags = ["Chats"];
/** What `isVisible` looks for, as JSON Schema writes it. */
const VISIBLE = "[^\\p{C}\\p{Z}\\p{M}\\p{Default_Ignorable_Code_Point}\\u2800]";
const title = z
  .string()
  .min(1)
  .max(200)
  .refine(isVisible, "must have something to be seen in it")
  .openapi({ pattern: VISIBLE, example: "Travel plans" });
const params = z.object({ chat_id: uuid });

const Chat = z
  .object({
    id,
    user_id: callerId,
    title: z.string().nullable(),
    created_at: time,
    updated_at: time,
    message_count: z.int(),
  })
  .openapi("ChatsChat");

const ChatList = z
  .object({ chats: z.array(Chat), total: z.int(), next_cursor: z.string().nullable() })
  .openapi("ChatsList");

const ChatMessage = z
  .object({
    id,
    chat_id: id,
    role: z.enum(["user", "assistant"]),
    content: z.string(),
    created_at: time,
  })
  .openapi("ChatsMessage");

const Reply = z
  .object({
    reply: z.string(),
    chat_id: id,
    message_id: id.openapi({ description: "The answer's." }),
    turn_id: id,
    model: z.string().openapi({ description: "What answered, as `provider/model`." }),
  })
  .openapi("ChatsReply");

const create = createRoute({
  method: "post",
  path: "/chats",
  operationId: "createChat",
  tags,
  summary: "Make a chat",
  request: {
    query: userQuery,
    headers: keyHeader,
    body: optionalBody(z.object({ user_id: callerId.optional(), title: title.optional() }).openapi("ChatsCreate")),
  },
  responses: { 201: json(Chat, "The chat"), ...bodyProblems("idempotency_mismatch") },
});

const list = createRoute({
  method: "get",
  path: "/chats",
  operationId: "listChats",
  tags,
  summary: "A user's chats, the last touched first",
  request: {
    query: userQuery.extend({
      limit: count({ min: 1, max: 100, otherwise: 50 }),
      offset: count({ min: 0, max: 1_000_000, otherwise: 0 }),
      after: afterConversation,
    }),
  },
  responses: { 200: json(ChatList, "A page of them"), ...problems() },
});

const get = createRoute({
  method: "get",
  path: "/chats/{chat_id}",
  operationId: "getChat",
  tags,
  summary: "One chat",
  request: { params, query: userQuery },
  responses: { 200: json(Chat, "The chat"), ...problems("not_found") },
});

const messages = createRoute({
  method: "get",
  path: "/chats/{chat_id}/messages",
  operationId: "listChatMessages",
  tags,
  summary: "The newest messages of a chat, oldest first",
  description: 'A `Link` header with `rel="next"` leads to older ones.',
  request: {
    params,
    query: userQuery.extend({ limit: count({ min: 1, max: 500, otherwise: 500 }), after: afterMessage }),
  },
  responses: { 200: json(z.array(ChatMessage), "The messages"), ...problems("not_found") },
});

const rename = createRoute({
  method: "patch",
  path: "/chats/{chat_id}",
  operationId: "renameChat",
  tags,
  summary: "Rename a chat",
  request: { params, query: userQuery, body: body(z.object({ title, user_id: callerId.optional() })) },
  responses: { 200: json(Chat, "The chat"), ...bodyProblems("not_found", "session_ended") },
});

const remove = createRoute({
  method: "delete",
  path: "/chats/{chat_id}",
  operationId: "deleteChat",
  tags,
  summary: "Delete a chat and its messages; a running turn is cancelled",
  request: { params, query: userQuery },
  responses: { 204: { description: "It is gone" }, ...bodyProblems("not_found") },
});

const send = createRoute({
  method: "post",
  path: "/chat",
  operationId: "sendChatMessage",
  tags,
  summary: "Send a message to a chat and get the answer",
  request: {
    query: userQuery,
    headers: keyHeader,
    body: body(z.object({ chat_id: uuid, user_id: callerId.optional(), message: messageText, ...turnOptions })),
  },
  responses: { 200: answers(Reply, "The answer"), ...bodyProblems("not_found", ...turnProblems) },
});

/** WIRE section 3. */
export function chats({ db, turns, clock, log }: Services) {
  const router = createRouter();

  router.openapi(create, async (c) => {
    const body = c.req.valid("json");
    const actor = actorOf(c, body.user_id);
    const key = requestKey(c, actor, body);
    const made = { title: body.title ?? null, now: clock(), key, respond: toChat };
    return c.json(await createConversation(db, actor, made), 201);
  });

  router.openapi(list, async (c) => {
    const { user_id, limit, offset, after } = c.req.valid("query");
    const actor = actorOf(c, user_id);
    const [total, page] = await Promise.all([
      countConversations(db, actor),
      listConversations(db, actor, { limit, offset, after }),
    ]);
    const next_cursor = page.next && encodeCursor([page.next.updatedAt, page.next.id]);
    return c.json({ chats: page.rows.map(toChat), total, next_cursor }, 200);
  });

  router.openapi(get, async (c) => {
    const actor = actorOf(c);
    return c.json(toChat(await getConversation(db, actor, c.req.valid("param").chat_id)), 200);
  });

  router.openapi(messages, async (c) => {
    const { user_id, limit, after } = c.req.valid("query");
    const conversationId = c.req.valid("param").chat_id;
    const actor = actorOf(c, user_id);
    const { span, next } = await findMessages(db, actor, { conversationId, limit, before: after });
    if (span === null) await getConversation(db, actor, conversationId); // which may not be there at all
    linkNext(c, next === null ? null : encodeCursor([next]));
    const pieces = arrayOf(readMessages(db, actor, span), (row) => toMessage(conversationId, row));
    return answerInParts(c, pieces, { user: actor.self, log });
  });

  router.openapi(rename, async (c) => {
    const { title, user_id } = c.req.valid("json");
    const actor = actorOf(c, user_id);
    const chat = await renameConversation(db, actor, { id: c.req.valid("param").chat_id, title, now: clock() });
    return c.json(toChat(chat), 200);
  });

  router.openapi(remove, async (c) => {
    const actor = actorOf(c);
    const cancelled = await deleteConversation(db, actor, { id: c.req.valid("param").chat_id, now: clock() });
    stopLive(turns.live, cancelled);
    return c.body(null, 204);
  });

  router.openapi(send, async (c) => {
    const body = c.req.valid("json");
    const { chat_id, user_id, message } = body;
    const actor = actorOf(c, user_id);
    const question = { conversationId: chat_id, content: message, ...optionsOf(c, actor, body) };
    const turn = await beginTurn(turns, actor, question);
    if (wantsStream(c, body)) return streamTurn(c, { turns, log }, turn);
    const answer = await waitFor(c, wholeAnswer(turns, turn));
    const reply = {
      reply: answer.content,
      chat_id,
      message_id: answer.turn.answerId,
      turn_id: answer.turn.turnId,
      model: answer.model,
    };
    return c.json(reply, 200);
  });

  return router;
}

function toChat(row: ListedConversation): z.infer<typeof Chat> {
  return {
    id: row.id,
    user_id: row.userId,
    title: row.title,
    created_at: timeOf(row.createdAt),
    updated_at: timeOf(row.updatedAt),
    message_count: row.messageCount,
  };
}

function toMessage(chatId: string, row: ListedMessage): z.infer<typeof ChatMessage> {
  return {
    id: row.id,
    chat_id: chatId,
    role: row.role === "user" ? "user" : "assistant",
    content: row.content,
    created_at: timeOf(row.createdAt),
  };
}
