import { createRoute, z } from "@hono/zod-openapi";
import { AppError } from "../core/errors.ts";
import type { Actor } from "../core/identity.ts";
import { listWaiting, watchQueue } from "../core/queue.ts";
import type { Conversation } from "../db/tables.ts";
import { actorOf } from "../http/actor.ts";
import { claimStream } from "../http/open-streams.ts";
import { answerInParts, arrayOf, partsOf } from "../http/parts.ts";
import { createRouter } from "../http/router.ts";
import { callerId, count, json, problems } from "../http/schemas.ts";
import { SessionState, toSession } from "../http/sessions.ts";
import { eventStream, frame } from "../http/sse.ts";
import type { Services } from "../services.ts";

const tags = ["Sessions"];
/** Sessions that are written out at once. */
const WRITTEN = 8;

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
      content: {
        "text/event-stream": {
          schema: z.string().openapi({ description: "`session` events; last, `token.expired`." }),
        },
      },
    },
    ...problems(),
  },
});

/** What agents have before them. */
export function agents({ db, desks, log, leaving }: Services) {
  const router = createRouter();
  const frames = new WeakMap<Conversation, string>();

  /** What many are told is written once. */
  function frameOf(row: Conversation): string {
    const text = frames.get(row) ?? frame({ event: "session", data: toSession(row) });
    frames.set(row, text);
    return text;
  }

  router.openapi(queue, async (c) => {
    const actor = staffOf(actorOf(c));
    const rows = await listWaiting(db, actor, c.req.valid("query").limit);
    return answerInParts(c, arrayOf(partsOf(rows, WRITTEN), toSession), { user: actor.self, log });
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
      for await (const rows of watchQueue({ db, desks, log }, actor, { agentId, signal })) {
        yield rows.map(frameOf).join("");
      }
    }
    return eventStream(c, texts, { log, until: leaving });
  });

  return router;
}

function staffOf(actor: Actor): Actor {
  if (actor.sees === "own") throw new AppError("forbidden", "Only an agent or an admin may see the queue.");
  return actor;
}
