import { z } from "@hono/zod-openapi";
import type { Context } from "hono";
import type { ConversationCursor } from "../core/conversations.ts";
import { clientPath } from "./base-path.ts";
import type { HttpEnv } from "./env.ts";
import { callerId, uuid } from "./schemas.ts";

/** Where the next page begins, opaque to the client. */
export const encodeCursor = (place: readonly (string | number)[]): string =>
  Buffer.from(JSON.stringify(place)).toString("base64url");

const LONGEST_CURSOR = 2_100; // a user id of 255 characters, each written as six

/** A cursor as a query has it: a place among rows by the time a handler sees it, and a 422 if it was never given out. */
const cursor = <T extends z.ZodType>(place: T) =>
  z
    .string()
    .max(LONGEST_CURSOR)
    .transform((text, context): z.output<T> => {
      const parsed = place.safeParse(decoded(text));
      if (parsed.success) return parsed.data;
      context.addIssue({ code: "custom", message: "must be a cursor that an earlier page gave" });
      return z.NEVER;
    })
    .optional()
    .openapi({
      type: "string",
      maxLength: LONGEST_CURSOR,
      description: "The cursor of the page before; the next page follows it.",
    });

function decoded(text: string): unknown {
  try {
    return JSON.parse(Buffer.from(text, "base64url").toString());
  } catch {
    return undefined;
  }
}

/** Where a list of conversations goes on. */
export const afterConversation = cursor(
  z.tuple([z.int().min(0), uuid]).transform(([updatedAt, id]): ConversationCursor => ({ updatedAt, id })),
);

/** Where a list of messages goes on: below this `seq`. */
export const afterMessage = cursor(z.tuple([z.int32().min(0)]).transform(([seq]) => seq));

/** Where a list of users goes on: behind this one. */
export const afterUser = cursor(z.tuple([callerId]).transform(([userId]) => userId));

/** Names the next page in a `Link` header. */
export function linkNext(c: Context<HttpEnv>, cursor: string | null): void {
  if (cursor === null) return;
  const query = new URLSearchParams(new URL(c.req.url).search);
  query.delete("offset");
  query.delete("skip");
  query.set("after", cursor);
  c.header("Link", `<${clientPath(c)}?${query}>; rel="next"`);
}
