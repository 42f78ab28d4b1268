import { createRoute, z } from "@hono/zod-openapi";
import { invalid } from "../core/errors.ts";
import { readUsage, type UsedByModel } from "../core/usage.ts";
import { actorOf } from "../http/actor.ts";
import { createRouter } from "../http/router.ts";
import { json, problems, time, userQuery } from "../http/schemas.ts";
import { timeOf } from "../http/time.ts";
import type { Services } from "../services.ts";

const tags = ["Turns"];

// RFC 3339 has no year before 0 and none of five digits; with an offset both can be named.
const FIRST = Date.parse("0000-01-01T00:00:00.000Z");
const LAST = Date.parse("9999-12-31T23:59:59.999Z");

const moment = z
  .union([z.iso.datetime({ offset: true }), z.iso.date()], {
    error: "must be a time like 2026-01-31T12:00:00Z, or a day",
  })
  .transform((text) => Math.min(Math.max(Date.parse(text), FIRST), LAST))
  .optional()
  .openapi({ type: "string", format: "date-time", description: "A time like 2026-01-31T12:00:00Z, or a day." });

const sums = {
  turns: z.int(),
  input_tokens: z.int(),
  output_tokens: z.int(),
  estimated_turns: z.int().openapi({ description: "Turns whose provider sent no count of its own." }),
  cost_usd: z.number().nullable().openapi({ description: "Without the unpriced turns; null if there are no others." }),
  unpriced_turns: z.int().openapi({ description: "Turns that used tokens whose price is not known." }),
};

const Usage = z
  .object({
    user_id: z.string().nullable().openapi({ description: "null: everybody's." }),
    from: time.nullable(),
    to: time.nullable(),
    ...sums,
    models: z.array(z.object({ model: z.string(), ...sums }).openapi("UsageOfModel")),
  })
  .openapi("Usage");

const get = createRoute({
  method: "get",
  path: "/api/v1/usage",
  operationId: "getUsage",
  tags,
  summary: "What turns used, by the model that answered",
  description: "A user's own; an admin's is everybody's unless a `user_id` is named.",
  request: { query: userQuery.extend({ from: moment, to: moment }) },
  responses: { 200: json(Usage, "Tokens and cost"), ...problems() },
});

/** What turns used. */
export function usage({ db }: Services) {
  const router = createRouter();

  router.openapi(get, async (c) => {
    const { from, to } = c.req.valid("query");
    if (from !== undefined && to !== undefined && from > to) throw invalid("from", "must not be later than to");
    const actor = actorOf(c);
    const used = await readUsage(db, actor, { from: from ?? 0, to: to ?? Number.MAX_SAFE_INTEGER });
    const all = actor.sees === "all" && actor.owner === null;
    const answer = {
      user_id: all ? null : actor.userId,
      from: from === undefined ? null : timeOf(from),
      to: to === undefined ? null : timeOf(to),
      ...total(used),
      models: used.map((one) => ({ model: one.model, ...toSums(one) })),
    };
    return c.json(answer, 200);
  });

  return router;
}

export const toSums = (one: Omit<UsedByModel, "model">) => ({
  turns: one.turns,
  input_tokens: one.inputTokens,
  output_tokens: one.outputTokens,
  estimated_turns: one.estimatedTurns,
  cost_usd: one.cost,
  unpriced_turns: one.unpricedTurns,
});

function total(used: readonly UsedByModel[]) {
  const sum = { turns: 0, inputTokens: 0, outputTokens: 0, estimatedTurns: 0, unpricedTurns: 0 };
  let cost: number | null = null;
  for (const one of used) {
    sum.turns += one.turns;
    sum.inputTokens += one.inputTokens;
    sum.outputTokens += one.outputTokens;
    sum.estimatedTurns += one.estimatedTurns;
    sum.unpricedTurns += one.unpricedTurns;
    if (one.cost !== null) cost = (cost ?? 0) + one.cost;
  }
  return toSums({ ...sum, cost });
}
