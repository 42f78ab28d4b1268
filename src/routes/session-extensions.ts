import { createRoute, z } from "@hono/zod-openapi";
import { addExtension, removeExtension } from "../core/extensions.ts";
import { actorOf } from "../http/actor.ts";
import { NewExtensionBody, toNewExtension } from "../http/extensions.ts";
import { keyHeader, requestKey } from "../http/idempotency.ts";
import { createRouter } from "../http/router.ts";
import { body, bodyProblems, callerId, json, userQuery, uuid } from "../http/schemas.ts";
import { SessionExtension, toExtension } from "../http/sessions.ts";
import type { Services } from "../services.ts";

const tags = ["Sessions"];
const messageParams = z.object({ message_id: uuid });

const extend = createRoute({
  method: "post",
  path: "/api/v1/messages/{message_id}/extensions",
  operationId: "addMessageExtension",
  tags,
  summary: "Hang an attachment, a reaction or anything else on a message",
  request: {
    params: messageParams,
    query: userQuery,
    headers: keyHeader,
    body: body(z.intersection(NewExtensionBody, z.object({ user_id: callerId.optional() }))),
  },
  responses: {
    201: json(SessionExtension, "The extension; of a reaction that was there, the one that was"),
    ...bodyProblems("not_found", "session_ended", "conversation_busy", "idempotency_mismatch"),
  },
});

const unextend = createRoute({
  method: "delete",
  path: "/api/v1/messages/{message_id}/extensions/{id}",
  operationId: "removeMessageExtension",
  tags,
  summary: "Take something off a message again",
  request: { params: messageParams.extend({ id: uuid }), query: userQuery },
  responses: {
    204: { description: "It is gone" },
    ...bodyProblems("not_found", "session_ended", "conversation_busy"),
  },
});

/** WIRE section 7: what hangs on a message. */
export function sessionExtensions({ turns }: Services) {
  const router = createRouter();

  router.openapi(extend, async (c) => {
    const body = c.req.valid("json");
    const actor = actorOf(c, body.user_id);
    const { message_id: messageId } = c.req.valid("param");
    const extension = toNewExtension(body);
    const key = requestKey(c, actor, body);
    const hung = { messageId, extension, key, respond: toExtension };
    return c.json(await addExtension(turns, actor, hung), 201);
  });

  router.openapi(unextend, async (c) => {
    const { message_id: messageId, id } = c.req.valid("param");
    await removeExtension(turns, actorOf(c), { messageId, id });
    return c.body(null, 204);
  });

  return router;
}
