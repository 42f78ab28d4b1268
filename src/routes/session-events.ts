import { createRoute, z } from "@hono/zod-openapi";
import type { Revision } from "../core/changes.ts";
import { AppError } from "../core/errors.ts";
import { watchSession } from "../core/events.ts";
import type { Passing } from "../core/feed.ts";
import type { Actor } from "../core/identity.ts";
import { getSessionRow } from "../core/sessions.ts";
import { actorOf } from "../http/actor.ts";
import { claimStream } from "../http/open-streams.ts";
import { createRouter } from "../http/router.ts";
import { body, bodyProblems, callerId, problems, userQuery, uuid } from "../http/schemas.ts";
import { toMessage, toSession } from "../http/sessions.ts";
import { eventStream, frame } from "../http/sse.ts";
import { freeRound } from "../http/turnstile.ts";
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
    "First everything that changed after the revision in `Last-Event-ID` or `after` (without either: everything), then what changes from now on. The stream ends with the token of its request, and says so by `token.expired`: come again with a new one and the last id.",
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
              "`session` and `message`, as they stand after a change, with the revision as id where it is the last row of that revision; without id `message.delta`, `typing` and, last, `token.expired`.",
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
    body: body(
      z.object({ sender_id: callerId, typing: z.boolean(), user_id: callerId.optional() }).openapi("SessionsTyping"),
    ),
  },
  responses: { 204: { description: "They are told" }, ...bodyProblems("not_found", "session_ended") },
});

/** WIRE section 7: what happens in sessions, for those who watch. */
export function sessionEvents({ db, bus, watch, log, leaving }: Services) {
  const router = createRouter();
  const framesFor = createFrames();

  router.openapi(events, async (c) => {
    const actor = actorOf(c);
    const { session_id: id } = c.req.valid("param");
    const after = c.req.valid("header")["last-event-id"] ?? c.req.valid("query").after ?? 0;
    claimStream(c, actor.self);
    await getSessionRow(db, actor, id);
    async function* texts(signal: AbortSignal) {
      yield ":\n\n";
      await freeRound(); // what comes first may be long
      for await (const told of watchSession({ watch, db }, actor, { id, after, signal })) {
        yield told.map((one) => framesFor(one, actor)).join("");
      }
    }
    return eventStream(c, texts, { log, until: leaving });
  });

  router.openapi(typing, async (c) => {
    const { sender_id: senderId, typing, user_id } = c.req.valid("json");
    const { session_id: conversationId } = c.req.valid("param");
    const actor = actorOf(c, user_id);
    if (actor.sees !== "all" && senderId !== actor.self) {
      throw new AppError("forbidden", "sender_id must be the caller's own id.");
    }
    const session = await getSessionRow(db, actor, conversationId);
    if (session.status === "ended") throw new AppError("session_ended", "The session has ended, for good.");
    bus.send({ type: "typing", conversationId, senderId, typing });
    return c.body(null, 204);
  });

  return router;
}

/** What many are told is written once for all who see the same of it. */
function createFrames() {
  const frames = { all: new WeakMap<object, string>(), other: new WeakMap<object, string>() };
  return (told: Revision | Passing, actor: Actor): string => {
    const seen = actor.sees === "all" ? frames.all : frames.other; // an admin sees what is deleted
    const text = seen.get(told) ?? framesOf(told, actor);
    seen.set(told, text);
    return text;
  };
}

function framesOf(told: Revision | Passing, actor: Actor): string {
  if (told.type === "revision") return revisionFrames(told, actor);
  if (told.type === "typing") {
    return frame({ event: "typing", data: { sender_id: told.senderId, typing: told.typing } });
  }
  const { messageId: message_id, turnId: turn_id, n, offset, text } = told;
  return frame({ event: "message.delta", data: { message_id, turn_id, n, offset, text } });
}

/** Whoever goes on from a revision must have heard all of it: the id stands on its last row. */
function revisionFrames({ rev, session, messages }: Revision, actor: Actor): string {
  const rows = [
    ...(session ? [{ event: "session", data: toSession(session) }] : []),
    ...messages.map((message) => ({ event: "message", data: toMessage(message, actor) })),
  ];
  return rows.map((row, i) => frame(i === rows.length - 1 ? { ...row, id: String(rev) } : row)).join("");
}
