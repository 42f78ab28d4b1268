import { createRoute, z } from "@hono/zod-openapi";
import type { Context } from "hono";
import { AppError, invalid } from "../core/errors.ts";
import type { Actor } from "../core/identity.ts";
import { deletePost, editPost } from "../core/post-changes.ts";
import { post } from "../core/posting.ts";
import { getTurn } from "../core/rows.ts";
import { getSessionRow } from "../core/sessions.ts";
import { findPost, getPost } from "../core/thread.ts";
import { findPosts, readPosts } from "../core/thread-parts.ts";
import { beginTurn } from "../core/turns.ts";
import { actorOf } from "../http/actor.ts";
import type { HttpEnv } from "../http/env.ts";
import { NewExtensionBody, toNewExtensions } from "../http/extensions.ts";
import { keyHeader } from "../http/idempotency.ts";
import { claimStream } from "../http/open-streams.ts";
import { afterMessage, encodeCursor, linkNext } from "../http/paging.ts";
import { answerInParts, arrayOf, wholeOf } from "../http/parts.ts";
import { createRouter } from "../http/router.ts";
import {
  anyObject,
  body,
  bodyProblems,
  callerId,
  count,
  json,
  messageText,
  problems,
  streamed,
  turnOptions,
  turnProblems,
  userQuery,
  uuid,
} from "../http/schemas.ts";
import { MOST_JSON, MOST_LEVELS, SessionMessage, toMessage } from "../http/sessions.ts";
import { wantsStream } from "../http/sse.ts";
import { optionsOf, streamTurn, Turn, toTurn } from "../http/turns.ts";
import type { Services } from "../services.ts";

const tags = ["Sessions"];
const sessionParams = z.object({ session_id: uuid });
const messageParams = z.object({ message_id: uuid });

const Posted = z.object({ ...SessionMessage.shape, turn: Turn.optional() }).openapi("SessionsPosted");

const send = createRoute({
  method: "post",
  path: "/api/v1/sessions/{session_id}/messages",
  operationId: "postSessionMessage",
  tags,
  summary: "Say something in a session; with `reply` the assistant answers it",
  description:
    "The message is stored at once; its turn runs on, and its answer comes with the session's events. `reply` goes with `sender_type` `user` alone.",
  request: {
    params: sessionParams,
    query: userQuery,
    headers: keyHeader,
    body: body(
      z
        .object({
          content: messageText,
          sender_type: z.enum(["user", "agent", "assistant", "system"]),
          sender_id: callerId,
          metadata: anyObject(MOST_JSON, MOST_LEVELS).optional(),
          extensions: z.array(NewExtensionBody).max(20).optional(),
          reply: z.boolean().optional().openapi({ description: "Only to what a user says." }),
          user_id: callerId.optional(),
          ...turnOptions,
        })
        .openapi("SessionsPost"),
    ),
  },
  responses: {
    201: json(Posted, "The message, and its turn where there is one"),
    200: { description: "With `reply` and `stream`: the turn as it happens", content: streamed },
    ...bodyProblems("not_found", ...turnProblems),
  },
});

const list = createRoute({
  method: "get",
  path: "/api/v1/sessions/{session_id}/messages",
  operationId: "listSessionMessages",
  tags,
  summary: "A session's messages, oldest first",
  description: 'Deleted ones are left out. A `Link` header with `rel="next"` leads to newer ones.',
  request: {
    params: sessionParams,
    query: userQuery.extend({
      limit: count({ min: 1, max: 500, otherwise: 100 }),
      offset: count({ min: 0, max: 1_000_000, otherwise: 0 }),
      after: afterMessage,
    }),
  },
  responses: { 200: json(z.array(SessionMessage), "The messages"), ...problems("not_found") },
});

const get = createRoute({
  method: "get",
  path: "/api/v1/messages/{message_id}",
  operationId: "getMessage",
  tags,
  summary: "One message",
  request: { params: messageParams, query: userQuery },
  responses: { 200: json(SessionMessage, "The message"), ...problems("not_found") },
});

const edit = createRoute({
  method: "patch",
  path: "/api/v1/messages/{message_id}",
  operationId: "editMessage",
  tags,
  summary: "Give a message another text; the old one goes to its `edit_history`",
  description:
    "The history holds 100 texts and 144 KiB of one editor, 1,000 texts and 288 KiB of all (as JSON). An edit that finds no room in it is a 422, and the message stays as it is: no earlier text is lost.",
  request: {
    params: messageParams,
    query: userQuery,
    body: body(z.object({ content: messageText, user_id: callerId.optional() }).openapi("SessionsEdit")),
  },
  responses: {
    200: json(SessionMessage, "The message"),
    ...bodyProblems("not_found", "session_ended", "conversation_busy"),
  },
});

const remove = createRoute({
  method: "delete",
  path: "/api/v1/messages/{message_id}",
  operationId: "deleteMessage",
  tags,
  summary: "Take a message back: it is left out of everything but an admin's view",
  request: { params: messageParams, query: userQuery },
  responses: {
    200: json(SessionMessage, "What is left of it"),
    ...bodyProblems("not_found", "session_ended", "conversation_busy"),
  },
});

/** WIRE section 7: what is said in a session. */
export function sessionMessages({ db, turns, log }: Services) {
  const router = createRouter();

  router.openapi(send, async (c) => {
    const body = c.req.valid("json");
    const actor = actorOf(c, body.user_id);
    const { sender_type: role, sender_id: senderId, content } = body;
    checkSender(actor, { role, senderId });
    claimForLong(c, actor);
    const { session_id: conversationId } = c.req.valid("param");
    const said = {
      conversationId,
      content,
      senderId,
      metadata: body.metadata ?? null,
      extensions: toNewExtensions(body.extensions ?? []),
    };
    const options = optionsOf(c, actor, body);
    if (!body.reply) {
      const message = await post(turns, actor, { ...said, role, key: options.key });
      return answerInParts(c, wholeOf(toMessage(message, actor)), { user: actor.self, log, status: 201 });
    }
    if (role !== "user") throw invalid("reply", "goes with what a user says: sender_type user");
    const turn = await beginTurn(turns, actor, { ...said, ...options });
    if (wantsStream(c, body)) return streamTurn(c, { turns, log }, turn);
    const [message, begun] = await Promise.all([findPost(db, actor, turn.questionId), getTurn(db, actor, turn.turnId)]);
    const answer = wholeOf({ ...toMessage(message, actor), turn: toTurn(begun) });
    return answerInParts(c, answer, { user: actor.self, log, status: 201 });
  });

  router.openapi(list, async (c) => {
    const { limit, offset, after } = c.req.valid("query");
    const { session_id: conversationId } = c.req.valid("param");
    const actor = actorOf(c);
    const [{ span, next }] = await Promise.all([
      findPosts(db, actor, { conversationId, limit, offset, after }),
      getSessionRow(db, actor, conversationId),
    ]);
    linkNext(c, next === null ? null : encodeCursor([next]));
    const pieces = arrayOf(readPosts(db, actor, span), (one) => toMessage(one, actor));
    return answerInParts(c, pieces, { user: actor.self, log });
  });

  router.openapi(get, async (c) => {
    const actor = actorOf(c);
    const post = await getPost(db, actor, c.req.valid("param").message_id);
    return answerInParts(c, wholeOf(toMessage(post, actor)), { user: actor.self, log });
  });

  router.openapi(edit, async (c) => {
    const { content, user_id } = c.req.valid("json");
    const actor = actorOf(c, user_id);
    const edited = { id: c.req.valid("param").message_id, content };
    claimForLong(c, actor);
    const post = await editPost(turns, actor, edited);
    return answerInParts(c, wholeOf(toMessage(post, actor)), { user: actor.self, log });
  });

  router.openapi(remove, async (c) => {
    const actor = actorOf(c);
    const post = await deletePost(turns, actor, c.req.valid("param").message_id);
    return answerInParts(c, wholeOf(toMessage(post, actor)), { user: actor.self, log });
  });

  return router;
}

/** From here on the answer to what is sent counts as an open stream, in bytes: it may be as long. */
const LONG = 32_768;

/** Throws 429 before anything is stored. */
function claimForLong(c: Context<HttpEnv>, { self }: Actor): void {
  if (Number(c.req.header("content-length") ?? LONG) >= LONG) claimStream(c, self);
}

type Sender = { role: z.infer<typeof SessionMessage>["sender_type"]; senderId: string };

/** A user speaks as itself, an agent also as agent and system; an admin may speak for anybody. */
function checkSender({ self, sees }: Actor, { role, senderId }: Sender): void {
  if (sees === "all") return;
  if (senderId !== self) throw new AppError("forbidden", "sender_id must be the caller's own id.");
  const roles = sees === "own" ? ["user"] : ["user", "agent", "system"];
  if (!roles.includes(role)) throw new AppError("forbidden", `sender_type must be one of: ${roles.join(", ")}.`);
}
