import { createRoute, z } from "@hono/zod-openapi";
import { AppError } from "../core/errors.ts";
import { actorOf } from "../http/actor.ts";
import { createRouter } from "../http/router.ts";
import { bodyProblems, callerId, json, optionalBody, time, timeOf, userQuery } from "../http/schemas.ts";

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

/** Gives a user what its client of Stream needs; throws 403 for one that may not be a user there. */
type IssueToken = (userId: string) => Promise<{ token: string; apiKey: string; userId: string; expiresAt: number }>;

/** WIRE section 7, last part: how a client of Stream Chat comes in. */
export function streamTokens(issueToken: IssueToken) {
  const router = createRouter();

  router.openapi(token, async (c) => {
    const actor = actorOf(c, c.req.valid("json").user_id);
    // What an agent or an admin sees of others here does not make it one of them there.
    if (actor.userId !== actor.self) throw new AppError("forbidden", "A token is for one's own user.");
    const { token, apiKey, userId, expiresAt } = await issueToken(actor.self);
    c.header("Cache-Control", "no-store");
    return c.json({ token, api_key: apiKey, user_id: userId, expires_at: timeOf(expiresAt) }, 200);
  });

  return router;
}
