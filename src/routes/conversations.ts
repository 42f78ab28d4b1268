import { createRoute, z } from "@hono/zod-openapi";
import {
  createConversation,
  getConversation,
  type ListedConversation,
  listConversations,
} from "../core/conversations.ts";
import { invalid } from "../core/errors.ts";
import { wholeAnswer } from "../core/follow.ts";
import type { Actor } from "../core/identity.ts";
import { findMessages, type ListedMessage, readMessages, type Span } from "../core/messages.ts";
import { beginTurn } from "../core/turns.ts";
import { actorOf } from "../http/actor.ts";
import { keyHeader, requestKey } from "../http/idempotency.ts";
import { afterConversation, afterMessage, encodeCursor, linkNext } from "../http/paging.ts";
import { answerInParts, objectWith, type Pieces, partsOf } from "../http/parts.ts";
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
  turnOptions,
  turnProblems,
  userQuery,
  uuid,
} from "../http/schemas.ts";
import { wantsStream } from "../http/sse.ts";
import { optionsOf, streamTurn } from "../http/turns.ts";
import { waitFor } from "../http/wait.ts";
import type { Services } from "../services.ts";

const tags = ["Conversations"];
const LISTED_MESSAGES = 20;
const SHOWN_MESSAGES = 500;
const MOST_ANSWERS = 8;
/** Conversations whose messages are looked for at once. */
const FOUND_TOGETHER = 20;

const params = z.object({ conversation_id: uuid });

const ConversationMessage = z
  .object({ id, conversation_id: id, sender: z.enum(["user", "chatbot"]), content: z.string() })
  .openapi("ConversationsMessage");

const Thread = z
  .object({ id, title: z.string().nullable(), messages: z.array(ConversationMessage) })
  .openapi("ConversationsConversation");

const Created = z.object({ id, messages: z.array(ConversationMessage).max(0) }).openapi("ConversationsCreated");

const Asked = z
  .object({
    id: id.openapi({ description: "The answer's." }),
    conversation_id: id,
    sender: z.literal("chatbot"),
    content: z.string(),
    alternatives: z
      .array(z.object({ id, content: z.string() }))
      .openapi({ description: "The other answers, where `n` asked for more than one." }),
    turn_id: id,
    model: z.string().openapi({ description: "What answered, as `provider/model`." }),
  })
  .openapi("ConversationsAnswer");

const create = createRoute({
  method: "post",
  path: "/conversations",
  operationId: "createConversation",
  tags,
  summary: "Make a conversation",
  request: {
    query: userQuery,
    headers: keyHeader,
    body: optionalBody(z.object({ user_id: callerId.optional() }).openapi("ConversationsCreate")),
  },
  responses: { 200: json(Created, "The conversation, still empty"), ...bodyProblems("idempotency_mismatch") },
});

const ask = createRoute({
  method: "post",
  path: "/conversations/{conversation_id}/ask-message",
  operationId: "askMessage",
  tags,
  summary: "Send a message and get the answer, or several to choose from",
  request: {
    params,
    query: userQuery,
    headers: keyHeader,
    body: body(
      z
        .object({
          content: messageText,
          n: z.int().min(1).max(MOST_ANSWERS).default(1).openapi({ description: "Answers wanted." }),
          user_id: callerId.optional(),
          ...turnOptions,
        })
        .openapi("ConversationsAsk"),
    ),
  },
  responses: { 200: answers(Asked, "The answer"), ...bodyProblems("not_found", ...turnProblems) },
});

const list = createRoute({
  method: "get",
  path: "/conversations",
  operationId: "listConversations",
  tags,
  summary: "Conversations with their newest 20 messages, the last touched first",
  description: 'A `Link` header with `rel="next"` leads to older ones.',
  request: {
    query: userQuery.extend({
      skip: count({ min: 0, max: 1_000_000, otherwise: 0 }),
      limit: count({ min: 0, max: 1000, otherwise: 10 }),
      after: afterConversation,
    }),
  },
  responses: { 200: json(z.array(Thread), "The conversations"), ...problems() },
});

const get = createRoute({
  method: "get",
  path: "/conversations/{conversation_id}",
  operationId: "getConversation",
  tags,
  summary: "A conversation with its newest 500 messages, oldest first",
  description: 'A `Link` header with `rel="next"` leads to older ones.',
  request: { params, query: userQuery.extend({ after: afterMessage }) },
  responses: { 200: json(Thread, "The conversation"), ...problems("not_found") },
});

type Listed = Pick<ListedConversation, "id" | "title">;

/** WIRE section 4. */
export function conversations({ db, turns, clock, log }: Services) {
  const router = createRouter();

  router.openapi(create, async (c) => {
    const body = c.req.valid("json");
    const actor = actorOf(c, body.user_id);
    const respond = ({ id }: { id: string }) => ({ id, messages: [] });
    const made = { title: null, now: clock(), key: requestKey(c, actor, body), respond };
    return c.json(await createConversation(db, actor, made), 200);
  });

  router.openapi(ask, async (c) => {
    const { conversation_id } = c.req.valid("param");
    const body = c.req.valid("json");
    const { content, n, user_id } = body;
    const streams = wantsStream(c, body);
    if (streams && n > 1) throw invalid("n", "must be 1 where the answer is streamed");
    const actor = actorOf(c, user_id);
    const question = { conversationId: conversation_id, content, wanted: n, ...optionsOf(c, actor, body) };
    const turn = await beginTurn(turns, actor, question);
    if (streams) return streamTurn(c, { turns, log }, turn);
    const answer = await waitFor(c, wholeAnswer(turns, turn));
    const asked = {
      id: answer.turn.answerId,
      conversation_id,
      sender: "chatbot" as const,
      content: answer.content,
      alternatives: answer.alternatives.map((one) => ({ id: one.id, content: one.content })),
      turn_id: answer.turn.turnId,
      model: answer.model,
    };
    return c.json(asked, 200);
  });

  router.openapi(list, async (c) => {
    const { user_id, skip, limit, after } = c.req.valid("query");
    const actor = actorOf(c, user_id);
    const page = await listConversations(db, actor, { limit, offset: skip, after });
    linkNext(c, page.next && encodeCursor([page.next.updatedAt, page.next.id]));
    return answerInParts(c, threads(actor, page.rows), { user: actor.self, log });
  });

  router.openapi(get, async (c) => {
    const { conversation_id } = c.req.valid("param");
    const { user_id, after } = c.req.valid("query");
    const actor = actorOf(c, user_id);
    const [row, { span, next }] = await Promise.all([
      getConversation(db, actor, conversation_id),
      findMessages(db, actor, { conversationId: conversation_id, limit: SHOWN_MESSAGES, before: after }),
    ]);
    linkNext(c, next === null ? null : encodeCursor([next]));
    return answerInParts(c, thread(actor, row, span), { user: actor.self, log });
  });

  /** One conversation with its messages, in pieces of JSON. */
  function thread(actor: Actor, { id, title }: Listed, span: Span | null): Pieces<z.infer<typeof Thread>> {
    const toJson = (row: ListedMessage) => toMessage(id, row);
    return objectWith({ id, title }, "messages", { parts: readMessages(db, actor, span), toJson });
  }

  /** Conversations with their newest messages, in pieces of JSON. */
  async function* threads(actor: Actor, rows: readonly Listed[]): Pieces<z.infer<typeof Thread>[]> {
    let before = "[";
    for await (const some of partsOf(rows, FOUND_TOGETHER)) {
      const find = ({ id }: Listed) => findMessages(db, actor, { conversationId: id, limit: LISTED_MESSAGES });
      const pages = await Promise.all(some.map(find));
      for (const [i, row] of some.entries()) {
        yield before;
        yield* thread(actor, row, pages[i]?.span ?? null);
        before = ",";
      }
    }
    yield rows.length === 0 ? "[]" : "]";
  }

  return router;
}

function toMessage(conversationId: string, row: ListedMessage): z.infer<typeof ConversationMessage> {
  return {
    id: row.id,
    conversation_id: conversationId,
    sender: row.role === "user" ? "user" : "chatbot",
    content: row.content,
  };
}
