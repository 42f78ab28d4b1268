import { z } from "@hono/zod-openapi";
import type { Context } from "hono";
import type { ConversationCursor } from "../core/conversations.ts";
import { invalid } from "../core/errors.ts";
import { uuid } from "./schemas.ts";

/** Where the next page begins, opaque to the client. */
export const encodeCursor = (place: readonly (string | number)[]): string =>
  Buffer.from(JSON.stringify(place)).toString("base64url");

/** Where a list of conversations goes on. */
export function conversationPlace(after: string | undefined): ConversationCursor | undefined {
  if (after === undefined) return undefined;
  const [updatedAt, id] = decodeCursor(after, z.tuple([z.int().min(0), uuid]));
  return { updatedAt, id };
}

/** Where a list of messages goes on: below this `seq`. */
export function messagePlace(after: string | undefined): number | undefined {
  return after === undefined ? undefined : decodeCursor(after, z.tuple([z.int32().min(0)]))[0];
}

/** Throws a 422 for what was never given out. */
function decodeCursor<T extends z.ZodType>(cursor: string, place: T): z.output<T> {
  try {
    return place.parse(JSON.parse(Buffer.from(cursor, "base64url").toString()));
  } catch {
    throw invalid("after", "must be a cursor that an earlier page gave");
  }
}

export const afterQuery = z
  .string()
  .max(500)
  .optional()
  .openapi({ description: "The cursor of the page before; the next page follows it." });

/** Names the next page in a `Link` header. */
export function linkNext(c: Context, cursor: string | null): void {
  if (cursor === null) return;
  const url = new URL(c.req.url);
  url.searchParams.delete("offset");
  url.searchParams.delete("skip");
  url.searchParams.set("after", cursor);
  c.header("Link", `<${url.pathname}${url.search}>; rel="next"`);
}
