import { createRoute, z } from "@hono/zod-openapi";
import type { Actor } from "../core/identity.ts";
import { getSession } from "../core/sessions.ts";
import { listPosts, type Post } from "../core/thread.ts";
import { actorOf } from "../http/actor.ts";
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

/** Messages read at once. */
const PAGE = 500;

/** WIRE section 7: a session to keep. */
export function sessionTranscript({ db }: Services) {
  const router = createRouter();

  router.openapi(transcript, async (c) => {
    const actor = actorOf(c);
    const { session_id } = c.req.valid("param");
    const { format } = c.req.valid("query");
    const session = toSession(await getSession(db, actor, session_id));
    const messages = [];
    for await (const post of allPosts(actor, session_id)) messages.push(toMessage(post, actor));
    if (format === "json") return c.json({ session, messages }, 200);
    const type = format === "text" ? "text/plain" : "text/markdown";
    return c.body(transcriptOf({ session, messages }, format), 200, { "Content-Type": `${type}; charset=utf-8` });
  });

  async function* allPosts(actor: Actor, conversationId: string): AsyncGenerator<Post> {
    let after = -1;
    for (;;) {
      const posts = await listPosts(db, actor, { conversationId, limit: PAGE, after });
      yield* posts.slice(0, PAGE);
      if (posts.length <= PAGE) return;
      after = posts[PAGE - 1]?.seq ?? after;
    }
  }

  return router;
}
