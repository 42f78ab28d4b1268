import { createRoute, z } from "@hono/zod-openapi";
import { AppError } from "../core/errors.ts";
import { watchSession } from "../core/events.ts";
import type { Changed, Passing } from "../core/feed.ts";
import type { Actor } from "../core/identity.ts";
import { listWaiting, watchQueue } from "../core/queue.ts";
import { getSession } from "../core/sessions.ts";
import { actorOf } from "../http/actor.ts";
import { claimStream } from "../http/open-streams.ts";
import { createRouter } from "../http/router.ts";
import { body, bodyProblems, callerId, count, json, problems, userQuery, uuid } from "../http/schemas.ts";
import { SessionState, toMessage, toSession } from "../http/sessions.ts";
import { eventStream, frame } from "../http/sse.ts";
import type { Services } from "../services.ts";

const tags = ["Sessions"];
const params = z.object({ session_id: uuid });
const revision = z
  .string()
  .regex(/^\d{1,9}$/, "must be a revision")
  .transform(Number);

const events = createRoute({
  method: "get",
  path: "/api/v1/sessions/{session_id}/events",
  operationId: "watchSession",
  tags,
  summary: "What changes in a session, as it changes",
  description:
    "First everything that changed after the revision in `Last-Event-ID` or `after` (without either: everything), then what changes from now on.",
  request: {
    params,
    query: userQuery.extend({
      after: revision
        .optional()
        .openapi({ type: "integer", minimum: 0, maximum: 999_999_999, description: "A revision: `rev`." }),
    }),
    headers: z.object({
      "last-event-id": revision.optional().openapi({
        type: "integer",
        minimum: 0,
        maximum: 999_999_999,
        description: "The id of the last event that arrived.",
      }),
    }),
  },
  responses: {
    200: {
      description: "The session as it changes",
      content: {
        "text/event-stream": {
          schema: z.string().openapi({
            description:
              "`session` and `message`, as they stand after a change, with the revision as id where it is the last row of that revision; without id `message.delta` and `typing`.",
          }),
        },
      },
    },
    ...problems("not_found"),
  },
});

const typing = createRoute({
  method: "post",
  path: "/api/v1/sessions/{session_id}/typing",
  operationId: "tellTyping",
  tags,
  summary: "Tell those who watch that somebody types",
  request: {
    params,
    query: userQuery,
    body: body(z.object({ sender_id: callerId, typing: z.boolean() }).openapi("SessionsTyping")),
  },
  responses: { 204: { description: "They are told" }, ...bodyProblems("not_found", "session_ended") },
});

const queue = createRoute({
  method: "get",
  path: "/api/v1/queue",
  operationId: "listQueue",
  tags,
  summary: "Live sessions that wait for an agent, the one that has waited longest first",
  request: { query: z.object({ limit: count({ min: 1, max: 200, otherwise: 50 }) }) },
  responses: { 200: json(z.array(SessionState), "The sessions"), ...problems() },
});

const agentEvents = createRoute({
  method: "get",
  path: "/api/v1/agents/{agent_id}/events",
  operationId: "watchAgent",
  tags,
  summary: "Sessions that wait or are the agent's own, as they change",
  description: "First how each of them stands, then a `session` event for every change, also that it waits no more.",
  request: { params: z.object({ agent_id: callerId }) },
  responses: {
    200: {
      description: "The sessions as they change",
      content: { "text/event-stream": { schema: z.string().openapi({ description: "`session` events." }) } },
    },
    ...problems(),
  },
});

/** WIRE section 7: what happens in sessions, for those who watch. */
export function sessionEvents({ db, bus, watch, log }: Services) {
  const router = createRouter();

  router.openapi(events, async (c) => {
    const actor = actorOf(c);
    const { session_id: id } = c.req.valid("param");
    const after = c.req.valid("header")["last-event-id"] ?? c.req.valid("query").after ?? 0;
    claimStream(c, actor.self);
    await getSession(db, actor, id);
    async function* texts(signal: AbortSignal) {
      yield ":\n\n";
      for await (const told of watchSession({ watch, db }, actor, { id, after, signal })) {
        if (told.length > 0) yield told.map((one) => frameOf(one, actor)).join("");
      }
    }
    return eventStream(c, texts, log);
  });

  router.openapi(typing, async (c) => {
    const { sender_id: senderId, typing } = c.req.valid("json");
    const { session_id: conversationId } = c.req.valid("param");
    const actor = actorOf(c);
    if (actor.sees !== "all" && senderId !== actor.self) {
      throw new AppError("forbidden", "sender_id must be the caller's own id.");
    }
    const session = await getSession(db, actor, conversationId);
    if (session.status === "ended") throw new AppError("session_ended", "The session has ended, for good.");
    bus.send({ type: "typing", conversationId, senderId, typing });
    return c.body(null, 204);
  });

  router.openapi(queue, async (c) => {
    const actor = staffOf(actorOf(c));
    const rows = await listWaiting(db, actor, c.req.valid("query").limit);
    return c.json(rows.map(toSession), 200);
  });

  router.openapi(agentEvents, async (c) => {
    const actor = staffOf(actorOf(c));
    const { agent_id: agentId } = c.req.valid("param");
    if (actor.sees === "live" && agentId !== actor.self) {
      throw new AppError("forbidden", "An agent watches as itself.");
    }
    claimStream(c, actor.self);
    async function* texts(signal: AbortSignal) {
      yield ":\n\n";
      for await (const rows of watchQueue({ db, bus }, actor, { agentId, signal })) {
        yield rows.map((row) => frame({ event: "session", data: toSession(row) })).join("");
      }
    }
    return eventStream(c, texts, log);
  });

  return router;
}

function staffOf(actor: Actor): Actor {
  if (actor.sees === "own") throw new AppError("forbidden", "Only an agent or an admin may see the queue.");
  return actor;
}

function frameOf(told: Changed | Passing, actor: Actor): string {
  switch (told.type) {
    case "session":
      return frame({ event: "session", ...idOf(told), data: toSession(told.session) });
    case "message":
      return frame({ event: "message", ...idOf(told), data: toMessage(told.message, actor) });
    case "delta": {
      const { messageId: message_id, turnId: turn_id, n, offset, text } = told;
      return frame({ event: "message.delta", data: { message_id, turn_id, n, offset, text } });
    }
    case "typing":
      return frame({ event: "typing", data: { sender_id: told.senderId, typing: told.typing } });
  }
}

/** Whoever goes on from a revision must have heard all of it. */
const idOf = ({ rev, last }: Changed) => (last ? { id: String(rev) } : {});
