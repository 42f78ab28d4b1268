import { createRoute, z } from "@hono/zod-openapi";
import { type Erased, eraseUser } from "../core/erasure.ts";
import { type Exported, exportUser } from "../core/export.ts";
import type { Actor } from "../core/identity.ts";
import { listUsers } from "../core/overview.ts";
import { actorOf } from "../http/actor.ts";
import { adminOnly } from "../http/auth.ts";
import { lined, ndjson } from "../http/ndjson.ts";
import { afterUser, encodeCursor } from "../http/paging.ts";
import { createRouter } from "../http/router.ts";
import { bodyProblems, count, json, ownId, problems, time } from "../http/schemas.ts";
import { toExtension, toMessage, toSession } from "../http/sessions.ts";
import { timeOf } from "../http/time.ts";
import { toTurn } from "../http/turns.ts";
import { waitFor } from "../http/wait.ts";
import type { Services } from "../services.ts";
import { toSums } from "./usage.ts";

const tags = ["Administration"];
/** Without an example: what erases a user must not be pressed with a name that somebody may have. */
const params = z.object({ user_id: ownId.openapi({ example: undefined }) });

const UserList = z
  .object({
    users: z.array(
      z
        .object({
          user_id: z.string(),
          conversations: z.int(),
          last_activity: time.openapi({ description: "When the last of its conversations was touched." }),
        })
        .openapi("AdministrationUser"),
    ),
    next_cursor: z.string().nullable(),
  })
  .openapi("AdministrationUsers");

const ErasedUser = z
  .object({
    user_id: z.string(),
    conversations: z.int(),
    messages: z.int().openapi({ description: "In these conversations, answers too." }),
    messages_elsewhere: z.int().openapi({ description: "What the user said in conversations of others: blanked." }),
    extensions_elsewhere: z.int(),
    sessions_left: z.int().openapi({ description: "Sessions of others that the user was the agent of." }),
    read_markers: z.int(),
    idempotency_keys: z.int(),
    turns: z.int().openapi({ description: "Turns in the ledger that name the user no more; what they cost stays." }),
  })
  .openapi("AdministrationErased");

const list = createRoute({
  method: "get",
  path: "/api/v1/users",
  operationId: "listUsers",
  tags,
  summary: "Every user who has conversations, by its id; for an admin",
  request: { query: z.object({ limit: count({ min: 1, max: 100, otherwise: 50 }), after: afterUser }) },
  responses: { 200: json(UserList, "A page of them"), ...problems() },
});

const erase = createRoute({
  method: "delete",
  path: "/api/v1/users/{user_id}",
  operationId: "eraseUser",
  tags,
  summary: "Erase everything of a user; for an admin, or the user itself",
  description:
    "What is there when it begins: its conversations, what it said and hung elsewhere, its markers and keys, and its name in the ledger, whose sums stay. What comes in meanwhile stays, so let its tokens run out before. If it breaks off, ask again: it goes on. Where a user has a budget of tokens, turns of the running day name it until that day is over (UTC).",
  request: { params },
  responses: { 200: json(ErasedUser, "How much there was of each; nothing is no error"), ...bodyProblems() },
});

const take = createRoute({
  method: "get",
  path: "/api/v1/users/{user_id}/export",
  operationId: "exportUser",
  tags,
  summary: "Everything of a user, one JSON object a line; for an admin, or the user itself",
  description:
    "`type` says what a line is: `user` first; `conversation`, and after each its `message` lines; `message` and `extension` of conversations of others; `turn`, `read_marker`, `idempotency_key`, `usage` by model; and last `end` with the `counts` of the others: without it the answer is not whole. Of deleted messages an admin alone is given the text, and of turns the `system_prompt`, which may be a service's own.",
  request: { params },
  responses: {
    200: { description: "The lines", content: lined({ type: "user", user_id: "alice" }) },
    ...problems(),
  },
});

/** Users as a whole, and what there is of one. */
export function users({ db, turns, log }: Services) {
  const router = createRouter();

  router.openapi(list, async (c) => {
    adminOnly(c.get("principal"));
    const { limit, after = "" } = c.req.valid("query");
    const rows = await listUsers(db, actorOf(c), { limit, after });
    const page = rows.slice(0, limit);
    const last = rows.length > limit ? page.at(-1) : undefined;
    const users = page.map(({ userId, conversations, lastActivity }) => {
      return { user_id: userId, conversations, last_activity: timeOf(lastActivity) };
    });
    return c.json({ users, next_cursor: last ? encodeCursor([last.userId]) : null }, 200);
  });

  router.openapi(erase, async (c) => {
    const actor = actorOf(c, c.req.valid("param").user_id);
    return c.json(toErased(actor, await waitFor(c, eraseUser(turns, actor))), 200);
  });

  router.openapi(take, async (c) => {
    const actor = actorOf(c, c.req.valid("param").user_id);
    const rows = exportUser(db, actor);
    return ndjson(c, linesOf(actor, rows), { user: actor.self, log });
  });

  return router;
}

function toErased({ userId }: Actor, erased: Erased): z.infer<typeof ErasedUser> {
  return {
    user_id: userId,
    conversations: erased.conversations,
    messages: erased.messages,
    messages_elsewhere: erased.messagesElsewhere,
    extensions_elsewhere: erased.extensionsElsewhere,
    sessions_left: erased.sessionsLeft,
    read_markers: erased.readMarkers,
    idempotency_keys: erased.idempotencyKeys,
    turns: erased.turns,
  };
}

async function* linesOf(actor: Actor, rows: AsyncGenerator<Exported>): AsyncGenerator<object> {
  const counts: Partial<Record<Exported["type"], number>> = {};
  yield { type: "user", user_id: actor.userId };
  for await (const exported of rows) {
    counts[exported.type] = (counts[exported.type] ?? 0) + 1;
    yield { type: exported.type, ...toLine(actor, exported) };
  }
  yield { type: "end", counts };
}

function toLine(actor: Actor, { type, row }: Exported): object {
  switch (type) {
    case "conversation":
      return toSession(row);
    case "message":
      return toMessage(row, actor);
    case "extension":
      return toExtension(row);
    case "turn":
      // A system prompt may be the words of a service that asked for the user.
      return { ...toTurn(row), request_id: row.requestId, ...(actor.sees === "all" && { options: row.options }) };
    case "read_marker":
      return { conversation_id: row.conversationId, seq: row.seq };
    case "idempotency_key":
      return { key: row.key, expires_at: timeOf(row.expiresAt) };
    case "usage":
      return { model: row.model, ...toSums(row) };
  }
}
