import { createRoute, z } from "@hono/zod-openapi";
import { bytesOf } from "../http/body.ts";
import { createRouter } from "../http/router.ts";
import { json, problemResponses } from "../http/schemas.ts";
import type { Services } from "../services.ts";

const Receipt = z
  .object({
    status: z.enum(["stored", "known", "other"]).openapi({
      description:
        "`known`: it had come before; `other`: of a kind, or a type of channel, of which nothing is made here.",
    }),
  })
  .openapi("StreamReceipt");

// No schema of zod's: the bytes are what is signed, and they may be packed.
const event = {
  type: "object" as const,
  required: ["type"],
  properties: { type: { type: "string" as const, example: "message.new" } },
  additionalProperties: true,
};

// Said of them, and not asked of them: what is wrong with one is a 401.
const header = (pattern: string, description: string) => z.string().optional().openapi({ pattern, description });
const VISIBLE = "^[!-~]{1,255}$";

const receive = createRoute({
  method: "post",
  path: "/webhooks/stream",
  operationId: "receiveStreamWebhook",
  tags: ["Stream Chat"],
  summary: "What Stream Chat tells by webhook",
  description:
    "An event of Stream's, as it is or as gzip, signed with the app's secret. It is stored before this is answered, and worked on after that: new messages, edits, deletions and reactions in channels of the type `messaging`.",
  security: [],
  request: {
    headers: z.object({
      "x-signature": header("^[0-9a-f]{64}$", "HMAC-SHA256 of the body before it is packed, in hex."),
      "x-api-key": header(VISIBLE, "The app's key."),
      "x-webhook-id": header(VISIBLE, "The same on every retry."),
    }),
    body: { required: true, content: { "application/json": { schema: event } } },
  },
  responses: {
    200: json(Receipt, "It is stored, or need not be"),
    ...problemResponses([
      "malformed_json",
      "unauthorized",
      "forbidden",
      "request_timeout",
      "payload_too_large",
      "internal_error",
      "storage_unavailable",
      "overloaded",
    ]),
  },
});

/** WIRE section 7, last part: what happens in Stream's channels comes in here. */
export function streamWebhook({ receive: take }: NonNullable<Services["streamInbox"]>, most: number) {
  const router = createRouter();

  router.openapi(receive, async (c) => {
    const status = await take({
      read: async () => new Uint8Array(await bytesOf(c, most)),
      signature: c.req.header("x-signature"),
      apiKey: c.req.header("x-api-key"),
      webhookId: c.req.header("x-webhook-id"),
    });
    return c.json({ status }, 200);
  });

  return router;
}
