import { createRoute, z } from "@hono/zod-openapi";
import { AppError } from "../core/errors.ts";
import { actorOf } from "../http/actor.ts";
import { createRouter } from "../http/router.ts";
import { bodyProblems, callerId, id, json, optionalBody, problems, time, userQuery } from "../http/schemas.ts";
import { timeOf } from "../http/time.ts";
import type { Services } from "../services.ts";

const Token = z
  .object({
    token: z.string().openapi({ description: "What Stream's clients take beside `user_id`." }),
    api_key: z.string(),
    user_id: z.string().openapi({
      description:
        "The user's id at Stream: its own, or one made from it where that has characters Stream does not take.",
      example: "alice",
    }),
    expires_at: time,
  })
  .openapi("StreamToken");

const token = createRoute({
  method: "post",
  path: "/api/v1/stream/token",
  operationId: "createStreamToken",
  tags: ["Stream Chat"],
  summary: "A token for Stream Chat",
  description:
    "For the token's own user only, whatever its role; a service asks for whom it names. Give Stream's client `api_key`, and connect it as `user_id` with a token provider that calls this route: connecting makes the user there if it is not yet. A conversation is the channel `messaging:{its id}`.",
  request: {
    query: userQuery,
    body: optionalBody(z.object({ user_id: callerId.optional() }).openapi("StreamTokenRequest")),
  },
  responses: { 200: json(Token, "The token"), ...bodyProblems() },
});

const tokenAtRoot = createRoute({ ...token, path: "/token", operationId: "createStreamTokenAtRoot" });

/** Conversations that are named, of all that wait. */
const NAMED = 100;

const Status = z
  .object({
    mirror: z.enum(["all", "sessions"]),
    waiting: z.int().openapi({ description: "Conversations that Stream has not been shown to their present state." }),
    conversations: z
      .array(
        z.object({
          conversation_id: id,
          rev: z.int(),
          mirrored: z.int().openapi({ description: "The revision that is shown; -1 for nothing." }),
          attempts: z.int().openapi({ description: "Tries in a row that failed." }),
          retry_at: time.nullable(),
          error: z.string().nullable(),
        }),
      )
      .openapi({ description: `${NAMED} of them.` }),
    events: z
      .object({ waiting: z.int(), oldest_at: time.nullable() })
      .openapi({ description: "What Stream has told by webhook and has not been worked on." }),
    quota: z
      .record(z.string(), z.object({ limit: z.int(), remaining: z.int(), reset_at: time }))
      .openapi({ description: "What is left in this minute, by kind of call, as Stream last told this instance." }),
  })
  .openapi("StreamStatus");

const status = createRoute({
  method: "get",
  path: "/api/v1/stream/status",
  operationId: "getStreamStatus",
  tags: ["Stream Chat"],
  summary: "How far Stream Chat is behind",
  description: "For an admin.",
  responses: { 200: json(Status, "The status"), ...problems("forbidden") },
});

/** Gives a user what its client of Stream needs; throws 403 for one that may not be a user there. */
type IssueToken = (userId: string) => Promise<{ token: string; apiKey: string; userId: string; expiresAt: number }>;

/** WIRE section 7, last part: how a client of Stream Chat comes in. */
export function streamChat({ stream, streamInbox }: Services, issueToken: IssueToken) {
  const router = createRouter();

  router.openapi(status, async (c) => {
    if (actorOf(c).sees !== "all") throw new AppError("forbidden", "Only an admin may see how the mirror is.");
    if (!stream || !streamInbox) throw new Error("there is no mirror");
    const { mirror, waiting, behind, quota } = await stream.status(NAMED);
    const left = Object.fromEntries(Object.entries(quota).map(([kind, one]) => [kind, toLeft(one)]));
    const events = await streamInbox.backlog();
    const oldest_at = events.oldest === null ? null : timeOf(events.oldest);
    const conversations = behind.map(toBehind);
    return c.json({ mirror, waiting, conversations, events: { waiting: events.waiting, oldest_at }, quota: left }, 200);
  });

  for (const route of [token, tokenAtRoot]) {
    router.openapi(route, async (c) => {
      const actor = actorOf(c, c.req.valid("json").user_id);
      // What an agent or an admin sees of others here does not make it one of them there.
      if (actor.userId !== actor.self) throw new AppError("forbidden", "A token is for one's own user.");
      const { token, apiKey, userId, expiresAt } = await issueToken(actor.self);
      return c.json({ token, api_key: apiKey, user_id: userId, expires_at: timeOf(expiresAt) }, 200);
    });
  }

  return router;
}

type Shown = Awaited<ReturnType<NonNullable<Services["stream"]>["status"]>>;

const toBehind = ({ id, rev, mirrored, attempts, retryAt, error }: Shown["behind"][number]) => ({
  ...{ conversation_id: id, rev, mirrored, attempts: attempts ?? 0, error },
  retry_at: retryAt === null ? null : timeOf(retryAt),
});

const toLeft = ({ limit, remaining, resetAt }: NonNullable<Shown["quota"]["GetApp"]>) => ({
  ...{ limit, remaining },
  reset_at: timeOf(resetAt),
});
