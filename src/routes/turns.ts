import { createRoute, z } from "@hono/zod-openapi";
import { listAlternatives, regenerate } from "../core/answers.ts";
import { cancelTurn } from "../core/cancel.ts";
import { invalid } from "../core/errors.ts";
import { wholeAnswer } from "../core/follow.ts";
import type { Place } from "../core/progress.ts";
import { getTurn, seenTurn } from "../core/rows.ts";
import type { Message } from "../db/tables.ts";
import { actorOf } from "../http/actor.ts";
import { keyHeader } from "../http/idempotency.ts";
import { claimStream } from "../http/open-streams.ts";
import { answerInParts, objectWith } from "../http/parts.ts";
import { createRouter } from "../http/router.ts";
import {
  answers,
  bodyProblems,
  callerId,
  id,
  json,
  optionalBody,
  problems,
  streamed,
  time,
  turnOptions,
  turnProblems,
  userQuery,
  uuid,
} from "../http/schemas.ts";
import { wantsStream } from "../http/sse.ts";
import { timeOf } from "../http/time.ts";
import { optionsOf, streamTurn, Turn, toTurn } from "../http/turns.ts";
import { waitFor } from "../http/wait.ts";
import type { Services } from "../services.ts";

const tags = ["Turns"];
const turnParams = z.object({ turn_id: uuid });
const messageParams = z.object({ message_id: uuid });

const Regenerated = z
  .object({
    turn_id: id,
    message_id: id.openapi({ description: "The new answer's." }),
    content: z.string(),
    model: z.string(),
  })
  .openapi("TurnsRegenerated");

const Alternatives = z
  .object({
    message_id: id,
    alternatives: z.array(
      z
        .object({
          id,
          content: z.string(),
          model: z.string().nullable(),
          status: z.enum(["completed", "incomplete"]),
          superseded: z.boolean(),
          created_at: time,
        })
        .openapi("TurnsAlternative"),
    ),
  })
  .openapi("TurnsAlternatives");

const get = createRoute({
  method: "get",
  path: "/api/v1/turns/{turn_id}",
  operationId: "getTurn",
  tags,
  summary: "A turn: where it stands, or how it ended",
  request: { params: turnParams, query: userQuery },
  responses: { 200: json(Turn, "The turn"), ...problems("not_found") },
});

const stream = createRoute({
  method: "get",
  path: "/api/v1/turns/{turn_id}/stream",
  operationId: "streamTurn",
  tags,
  summary: "Follow a turn, from its start or from where a stream broke off",
  description: "Replays what was said so far, also after the turn has ended.",
  request: {
    params: turnParams,
    query: userQuery,
    headers: z.object({
      "last-event-id": z.string().optional().openapi({
        pattern: "^(\\d{1,9}-(\\d{1,9}|end))?$",
        description: "The id of the last event that arrived: `{n}-{offset}`; the stream goes on behind it.",
      }),
    }),
  },
  responses: {
    200: { description: "The turn as it happens", content: streamed },
    204: { description: "The stream had ended with this event" },
    ...problems("not_found"),
  },
});

const cancel = createRoute({
  method: "post",
  path: "/api/v1/turns/{turn_id}/cancel",
  operationId: "cancelTurn",
  tags,
  summary: "Stop a turn: its provider is hung up on, the text so far is kept",
  request: { params: turnParams, query: userQuery },
  responses: { 200: json(Turn, "The turn"), ...bodyProblems("not_found", "turn_finished") },
});

const again = createRoute({
  method: "post",
  path: "/api/v1/messages/{message_id}/regenerate",
  operationId: "regenerateAnswer",
  tags,
  summary: "Answer the last question anew",
  description: "The old answer stands until the new one is whole; then it is kept as an alternative.",
  request: {
    params: messageParams,
    query: userQuery,
    headers: keyHeader,
    body: optionalBody(
      z
        .object({ user_id: callerId.optional(), ...turnOptions })
        .omit({ if_busy: true })
        .openapi("TurnsRegenerate"),
    ),
  },
  responses: {
    200: answers(Regenerated, "The new answer"),
    ...bodyProblems("not_found", "not_latest", "conversation_busy", ...turnProblems),
  },
});

const others = createRoute({
  method: "get",
  path: "/api/v1/messages/{message_id}/alternatives",
  operationId: "listAlternatives",
  tags,
  summary: "The other answers to the same question, oldest first",
  request: { params: messageParams, query: userQuery },
  responses: { 200: json(Alternatives, "The other answers"), ...problems("not_found") },
});

/** WIRE section 2. */
export function turns({ db, turns, log }: Services) {
  const router = createRouter();

  router.openapi(get, async (c) => c.json(toTurn(await getTurn(db, actorOf(c), c.req.valid("param").turn_id)), 200));

  router.openapi(stream, async (c) => {
    const actor = actorOf(c);
    claimStream(c, actor.self);
    const turn = await getTurn(db, actor, c.req.valid("param").turn_id);
    const from = placeOf(c.req.valid("header")["last-event-id"]);
    if (from === "end") return c.body(null, 204);
    return streamTurn(c, { turns, log }, seenTurn(actor, turn), from);
  });

  router.openapi(cancel, async (c) => {
    const turn = await waitFor(c, cancelTurn(turns, actorOf(c), c.req.valid("param").turn_id));
    return c.json(toTurn(turn), 200);
  });

  router.openapi(again, async (c) => {
    const body = c.req.valid("json");
    const actor = actorOf(c, body.user_id);
    const { message_id: messageId } = c.req.valid("param");
    const turn = await regenerate(turns, actor, { messageId, ...optionsOf(c, actor, body) });
    if (wantsStream(c, body)) return streamTurn(c, { turns, log }, turn);
    const { content, model, turn: of } = await waitFor(c, wholeAnswer(turns, turn));
    return c.json({ turn_id: of.turnId, message_id: of.answerId, content, model }, 200);
  });

  router.openapi(others, async (c) => {
    const { message_id } = c.req.valid("param");
    const actor = actorOf(c);
    const alternatives = { parts: await listAlternatives(db, actor, message_id), toJson: toAlternative };
    const pieces = objectWith({ message_id }, "alternatives", alternatives);
    return answerInParts(c, pieces, { user: actor.self, log });
  });

  return router;
}

/** Where a stream broke off; null for its start. Throws 422 for what was never an id. */
function placeOf(lastEventId: string | undefined): Place | "end" | null {
  if (lastEventId === undefined || lastEventId === "") return null;
  const [, n, offset] = /^(\d{1,9})-(\d{1,9}|end)$/.exec(lastEventId) ?? [];
  if (n === undefined || offset === undefined) {
    throw invalid("Last-Event-ID", "must be the id of an event of this stream: 0-42, say");
  }
  return offset === "end" ? "end" : { n: Number(n), offset: Number(offset) };
}

function toAlternative(row: Message): z.infer<typeof Alternatives>["alternatives"][number] {
  return {
    id: row.id,
    content: row.content,
    model: row.model,
    status: row.status === "completed" ? "completed" : "incomplete",
    superseded: row.supersededAt !== null,
    created_at: timeOf(row.createdAt),
  };
}
