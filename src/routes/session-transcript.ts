import { createRoute, z } from "@hono/zod-openapi";
import { getSession } from "../core/sessions.ts";
import type { Post } from "../core/thread.ts";
import { readPosts, wholeThread } from "../core/thread-parts.ts";
import { actorOf } from "../http/actor.ts";
import { answerInParts, objectWith } from "../http/parts.ts";
import { createRouter } from "../http/router.ts";
import { problems, userQuery, uuid } from "../http/schemas.ts";
import { SessionMessage, SessionState, toMessage, toSession } from "../http/sessions.ts";
import { transcriptOf } from "../http/transcript.ts";
import type { Services } from "../services.ts";

const tags = ["Sessions"];
const params = z.object({ session_id: uuid });

const Transcript = z.object({ session: SessionState, messages: z.array(SessionMessage) }).openapi("SessionsTranscript");

const transcript = createRoute({
  method: "get",
  path: "/api/v1/sessions/{session_id}/transcript",
  operationId: "getTranscript",
  tags,
  summary: "The whole session, to keep or to print",
  request: {
    params,
    query: userQuery.extend({ format: z.enum(["json", "text", "markdown"]).default("json") }),
  },
  responses: {
    200: {
      description: "The transcript",
      content: {
        "application/json": { schema: Transcript },
        "text/plain": { schema: z.string() },
        "text/markdown": { schema: z.string() },
      },
    },
    ...problems("not_found"),
  },
});

/** WIRE section 7: a session to keep. */
export function sessionTranscript({ db, log }: Services) {
  const router = createRouter();

  router.openapi(transcript, async (c) => {
    const actor = actorOf(c);
    const { session_id } = c.req.valid("param");
    const { format } = c.req.valid("query");
    const session = toSession(await getSession(db, actor, session_id));
    const parts = readPosts(db, actor, wholeThread(session_id));
    const toJson = (post: Post) => toMessage(post, actor);
    const answering = { user: actor.self, log };
    if (format === "json") return answerInParts(c, objectWith({ session }, "messages", { parts, toJson }), answering);
    const type = `${format === "text" ? "text/plain" : "text/markdown"}; charset=utf-8`;
    return answerInParts(c, transcriptOf(session, { parts, toJson }, format), { ...answering, type });
  });

  return router;
}
