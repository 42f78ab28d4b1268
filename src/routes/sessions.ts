import { createRoute, z } from "@hono/zod-openapi";
import { createConversation, type LiveStart } from "../core/conversations.ts";
import { AppError, invalid } from "../core/errors.ts";
import { markRead } from "../core/read-markers.ts";
import { bornState, type Move } from "../core/session-moves.ts";
import { changeSession, findSessions, getSessionRow, readSessions } from "../core/sessions.ts";
import { readSnapshot } from "../core/snapshot.ts";
import type { Post } from "../core/thread.ts";
import { actorOf } from "../http/actor.ts";
import { keyHeader, requestKey } from "../http/idempotency.ts";
import { afterConversation, encodeCursor, linkNext } from "../http/paging.ts";
import { answerInParts, arrayOf, objectWith } from "../http/parts.ts";
import { createRouter } from "../http/router.ts";
import {
  anyObject,
  body,
  bodyProblems,
  callerId,
  count,
  json,
  optionalBody,
  problems,
  userQuery,
  uuid,
} from "../http/schemas.ts";
import {
  MOST_JSON,
  MOST_LEVELS,
  moveProblems,
  SessionMessage,
  SessionState,
  toMessage,
  toSession,
} from "../http/sessions.ts";
import type { Services } from "../services.ts";

const tags = ["Sessions"];
const params = z.object({ session_id: uuid });
const metadata = anyObject(MOST_JSON, MOST_LEVELS).optional();

const WithMessages = z.object({ ...SessionState.shape, messages: z.array(SessionMessage) }).openapi("SessionsWhole");

const create = createRoute({
  method: "post",
  path: "/api/v1/sessions",
  operationId: "createSession",
  tags,
  summary: "Make a live session",
  description: "With `agent_id` that agent is in control from the start, else the assistant is.",
  request: {
    query: userQuery,
    headers: keyHeader,
    body: optionalBody(
      z
        .object({
          user_id: callerId.optional(),
          agent_id: callerId.optional(),
          metadata,
          previous_session_id: uuid.optional(),
        })
        .openapi("SessionsCreate"),
    ),
  },
  responses: { 201: json(SessionState, "The session"), ...bodyProblems("not_found", "idempotency_mismatch") },
});

const get = createRoute({
  method: "get",
  path: "/api/v1/sessions/{session_id}",
  operationId: "getSession",
  tags,
  summary: "A session with its newest 100 messages, oldest first",
  request: { params, query: userQuery },
  responses: { 200: json(WithMessages, "The session"), ...problems("not_found") },
});

const list = createRoute({
  method: "get",
  path: "/api/v1/users/{user_id}/sessions",
  operationId: "listUserSessions",
  tags,
  summary: "A user's sessions, the last touched first",
  description: 'An agent sees the live ones. A `Link` header with `rel="next"` leads to older ones.',
  request: {
    params: z.object({ user_id: callerId }),
    query: z.object({
      active_only: z
        .stringbool({ error: "must be true or false" })
        .default(false)
        .openapi({ type: "boolean", default: false, description: "Leaves out those that have ended." }),
      limit: count({ min: 1, max: 100, otherwise: 50 }),
      offset: count({ min: 0, max: 1_000_000, otherwise: 0 }),
      after: afterConversation,
    }),
  },
  responses: { 200: json(z.array(SessionState), "The sessions"), ...problems() },
});

const change = createRoute({
  method: "patch",
  path: "/api/v1/sessions/{session_id}",
  operationId: "changeSession",
  tags,
  summary: "Assign, move or describe a session",
  description:
    "`agent_id` alone, or with `transferred`, assigns; `status` makes the moves of the routes beside this one; `metadata` is merged, and a field that is null is taken out.",
  request: {
    params,
    query: userQuery,
    body: body(
      z
        .object({
          agent_id: callerId.optional(),
          status: z.enum(["active", "transferred", "ended"]).optional(),
          metadata,
          user_id: callerId.optional(),
        })
        .openapi("SessionsChange"),
    ),
  },
  responses: { 200: json(SessionState, "The session"), ...bodyProblems(...moveProblems) },
});

const read = createRoute({
  method: "post",
  path: "/api/v1/sessions/{session_id}/read",
  operationId: "markSessionRead",
  tags,
  summary: "Note how far the caller has read; it never goes back",
  request: {
    params,
    query: userQuery,
    body: body(
      z
        .object({
          seq: z
            .int()
            .min(0)
            .max(2 ** 31 - 1)
            .openapi({ description: "Of the last message that was read." }),
          user_id: callerId.optional(),
        })
        .openapi("SessionsRead"),
    ),
  },
  responses: { 204: { description: "It is noted" }, ...bodyProblems("not_found") },
});

/** WIRE section 7: live sessions. */
export function sessions({ db, turns, clock, log }: Services) {
  const router = createRouter();

  router.openapi(create, async (c) => {
    const body = c.req.valid("json");
    const actor = actorOf(c, body.user_id);
    const agentId = body.agent_id ?? null;
    if (agentId !== null && actor.sees === "own") {
      throw new AppError("forbidden", "Only an agent or an admin may name the agent.");
    }
    const previousId = body.previous_session_id ?? null;
    if (previousId !== null) await getSessionRow(db, actor, previousId);
    const { control } = bornState(agentId);
    const live: LiveStart = { isLive: true, control, agentId, metadata: body.metadata ?? null, previousId };
    const key = requestKey(c, actor, body);
    const made = { title: null, live, now: clock(), key, respond: toSession };
    return c.json(await createConversation(db, actor, made), 201);
  });

  router.openapi(get, async (c) => {
    const actor = actorOf(c);
    const { session, parts } = await readSnapshot(turns, actor, c.req.valid("param").session_id);
    const messages = { parts, toJson: (post: Post) => toMessage(post, actor) };
    return answerInParts(c, objectWith(toSession(session), "messages", messages), { user: actor.self, log });
  });

  router.openapi(list, async (c) => {
    const { active_only: activeOnly, limit, offset, after } = c.req.valid("query");
    const actor = actorOf(c, c.req.valid("param").user_id);
    const { ids, next } = await findSessions(db, actor, { limit, offset, after, activeOnly });
    linkNext(c, next && encodeCursor([next.updatedAt, next.id]));
    return answerInParts(c, arrayOf(readSessions(db, actor, ids), toSession), { user: actor.self, log });
  });

  router.openapi(change, async (c) => {
    const body = c.req.valid("json");
    const actor = actorOf(c, body.user_id);
    const { session_id: id } = c.req.valid("param");
    const moves = movesOf(await getSessionRow(db, actor, id), body);
    return c.json(toSession(await changeSession(turns, actor, { id, move: moves, metadata: body.metadata })), 200);
  });

  router.openapi(read, async (c) => {
    const { seq, user_id } = c.req.valid("json");
    await markRead(db, actorOf(c, user_id), { conversationId: c.req.valid("param").session_id, seq });
    return c.body(null, 204);
  });

  return router;
}

type Patch = { agent_id?: string | undefined; status?: "active" | "transferred" | "ended" | undefined };

/** The move that a patch asks for: none where it names the state that the session has. */
function movesOf(session: { status: string }, { agent_id: agentId, status }: Patch): Move | null {
  if (agentId !== undefined && (status === "ended" || status === "active")) {
    throw invalid("agent_id", `goes with no status, or with transferred, not with ${status}`);
  }
  if (agentId !== undefined) return { to: "agent", agentId };
  if (status === "ended") return { to: "end" };
  if (status === undefined || status === session.status) return null;
  return status === "active" ? { to: "assistant" } : { to: "agent", agentId: null };
}
