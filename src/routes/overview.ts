import { createRoute, z } from "@hono/zod-openapi";
import { type ListedTurn, listEverybodys, listTurns } from "../core/overview.ts";
import type { Conversation } from "../db/tables.ts";
import { actorOf } from "../http/actor.ts";
import { adminOnly } from "../http/auth.ts";
import { afterConversation, afterMessage, encodeCursor } from "../http/paging.ts";
import { createRouter } from "../http/router.ts";
import { count, id, json, problems, time, userQuery, uuid } from "../http/schemas.ts";
import { timeOf } from "../http/time.ts";
import { Turn, toTurn } from "../http/turns.ts";
import type { Services } from "../services.ts";

const tags = ["Administration"];
const status = z.enum(["active", "ended", "transferred"]);

const ListedConversation = z
  .object({
    id,
    user_id: z.string(),
    agent_id: z.string().nullable(),
    title: z.string().nullable(),
    status,
    control: z.enum(["assistant", "queue", "agent"]),
    is_live: z.boolean(),
    message_count: z.int(),
    created_at: time,
    updated_at: time,
    ended_at: time.nullable(),
  })
  .openapi("AdministrationConversation");

const ConversationList = z
  .object({ conversations: z.array(ListedConversation), next_cursor: z.string().nullable() })
  .openapi("AdministrationConversations");

const TurnList = z
  .object({
    turns: z.array(
      z
        .object({
          ...Turn.shape,
          request_id: z.string().nullable().openapi({ description: "Of the request that began it, as in the log." }),
        })
        .openapi("AdministrationTurn"),
    ),
    next_cursor: z.string().nullable(),
  })
  .openapi("AdministrationTurns");

const conversationList = createRoute({
  method: "get",
  path: "/api/v1/conversations",
  operationId: "listAllConversations",
  tags,
  summary: "Everybody's conversations, the newest first; for an admin",
  description:
    "By their ids, which for those made here is by when they were made. Of one user, whom `user_id` names, the last touched first. Where few have the `status` that is asked for, a page may hold fewer than `limit` and lead on all the same.",
  request: {
    query: userQuery.extend({
      status: status.optional(),
      limit: count({ min: 1, max: 100, otherwise: 50 }),
      after: afterConversation,
    }),
  },
  responses: { 200: json(ConversationList, "A page of them"), ...problems() },
});

const turnList = createRoute({
  method: "get",
  path: "/api/v1/conversations/{conversation_id}/turns",
  operationId: "listConversationTurns",
  tags,
  summary: "A conversation's turns with what they cost, oldest first",
  description: "For whoever sees the conversation.",
  request: {
    params: z.object({ conversation_id: uuid }),
    query: userQuery.extend({ limit: count({ min: 1, max: 100, otherwise: 50 }), after: afterMessage }),
  },
  responses: { 200: json(TurnList, "A page of them"), ...problems("not_found") },
});

/** Conversations and turns as a whole. */
export function overview({ db }: Services) {
  const router = createRouter();

  router.openapi(conversationList, async (c) => {
    adminOnly(c.get("principal"));
    const { limit, after, status } = c.req.valid("query");
    const { rows, next } = await listEverybodys(db, actorOf(c), { limit, after, status });
    const next_cursor = next && encodeCursor([next.updatedAt, next.id]);
    return c.json({ conversations: rows.map(toListed), next_cursor }, 200);
  });

  router.openapi(turnList, async (c) => {
    const { limit, after } = c.req.valid("query");
    const { conversation_id: conversationId } = c.req.valid("param");
    const rows = await listTurns(db, actorOf(c), { conversationId, after, limit });
    const page = rows.slice(0, limit);
    const last = rows.length > limit ? page.at(-1) : undefined;
    return c.json({ turns: page.map(toListedTurn), next_cursor: last ? encodeCursor([last.seq]) : null }, 200);
  });

  return router;
}

function toListed(row: Conversation): z.infer<typeof ListedConversation> {
  return {
    id: row.id,
    user_id: row.userId,
    agent_id: row.agentId,
    title: row.title,
    status: row.status,
    control: row.control,
    is_live: row.isLive,
    message_count: row.messageCount,
    created_at: timeOf(row.createdAt),
    updated_at: timeOf(row.updatedAt),
    ended_at: row.endedAt === null ? null : timeOf(row.endedAt),
  };
}

const toListedTurn = ({ turn }: ListedTurn) => ({ ...toTurn(turn), request_id: turn.requestId });
