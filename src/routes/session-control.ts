import { createRoute, z } from "@hono/zod-openapi";
import { AppError } from "../core/errors.ts";
import type { Actor } from "../core/identity.ts";
import type { Move } from "../core/session-moves.ts";
import { changeSession } from "../core/sessions.ts";
import { actorOf } from "../http/actor.ts";
import { createRouter } from "../http/router.ts";
import { body, bodyProblems, callerId, json, optionalBody, userQuery, uuid } from "../http/schemas.ts";
import { moveProblems, SessionState, toSession } from "../http/sessions.ts";
import type { Services } from "../services.ts";

const tags = ["Sessions"];
const params = z.object({ session_id: uuid });
const reason = z.string().min(1).max(500).optional();
const user_id = callerId.optional();

const end = createRoute({
  method: "post",
  path: "/api/v1/sessions/{session_id}/end",
  operationId: "endSession",
  tags,
  summary: "End a session, for good; ending it twice is the same answer",
  request: { params, query: userQuery, body: optionalBody(z.object({ reason, user_id }).openapi("SessionsEnd")) },
  responses: { 200: json(SessionState, "The session"), ...bodyProblems(...moveProblems) },
});

const transfer = createRoute({
  method: "post",
  path: "/api/v1/sessions/{session_id}/transfer",
  operationId: "transferSession",
  tags,
  summary: "Ask for an agent, hand over to one, or hand back to the assistant",
  description: "A running answer is cancelled in the same step.",
  request: {
    params,
    query: userQuery,
    body: body(
      z
        .object({ to: z.enum(["agent", "assistant"]), agent_id: callerId.optional(), reason, user_id })
        .openapi("SessionsTransfer"),
    ),
  },
  responses: { 200: json(SessionState, "The session"), ...bodyProblems(...moveProblems) },
});

const accept = createRoute({
  method: "post",
  path: "/api/v1/sessions/{session_id}/accept",
  operationId: "acceptSession",
  tags,
  summary: "Take a session that waits; of two agents one wins",
  request: {
    params,
    query: userQuery,
    body: optionalBody(z.object({ agent_id: callerId.optional(), user_id }).openapi("SessionsAccept")),
  },
  responses: { 200: json(SessionState, "The session"), ...bodyProblems(...moveProblems) },
});

/** WIRE section 7: who is in control of a session. */
export function sessionControl({ turns }: Services) {
  const router = createRouter();

  const move = async (actor: Actor, id: string, wanted: { move: Move; reason?: string | undefined }) =>
    toSession(await changeSession(turns, actor, { id, ...wanted }));

  router.openapi(end, async (c) => {
    const { reason, user_id } = c.req.valid("json");
    const { session_id: id } = c.req.valid("param");
    return c.json(await move(actorOf(c, user_id), id, { move: { to: "end" }, reason }), 200);
  });

  router.openapi(transfer, async (c) => {
    const { to, agent_id, reason, user_id } = c.req.valid("json");
    const { session_id: id } = c.req.valid("param");
    const wanted: Move = to === "agent" ? { to, agentId: agent_id ?? null } : { to };
    return c.json(await move(actorOf(c, user_id), id, { move: wanted, reason }), 200);
  });

  router.openapi(accept, async (c) => {
    const body = c.req.valid("json");
    const actor = actorOf(c, body.user_id);
    const { agent_id: agentId = actor.self } = body;
    const { session_id: id } = c.req.valid("param");
    if (actor.sees === "live" && agentId !== actor.self) {
      throw new AppError("forbidden", "An agent accepts as itself: leave agent_id out.");
    }
    return c.json(await move(actor, id, { move: { to: "accept", agentId } }), 200);
  });

  return router;
}
