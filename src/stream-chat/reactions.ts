import { z } from "zod";
import type { Stoppable, StreamChat } from "./client.ts";
import { messagePath } from "./messages.ts";

/** One per user and type. */
export type Reaction = { type: string; userId: string };

const listed = z.object({
  reactions: z.array(z.object({ type: z.string(), user_id: z.string() })),
});

/** Reactions of one answer, the most that Stream gives. */
const PAGE = 300;

/** Once more changes nothing. Throws `not_found` where there is no such message. */
export async function addReaction(
  stream: StreamChat,
  messageId: string,
  { type, userId, signal }: Reaction & Stoppable,
): Promise<void> {
  const [path, body] = [`${messagePath(messageId)}/reaction`, { reaction: { type, user_id: userId } }];
  await stream.call({ kind: "SendReaction", method: "POST", path, body, signal }, z.unknown());
}

/** Throws `not_found` where there is no such message or reaction. */
export async function removeReaction(
  stream: StreamChat,
  messageId: string,
  { type, userId, signal }: Reaction & Stoppable,
): Promise<void> {
  const path = `${messagePath(messageId)}/reaction/${encodeURIComponent(type)}`;
  await stream.call(
    { kind: "DeleteReaction", method: "DELETE", path, query: { user_id: userId }, signal },
    z.unknown(),
  );
}

/** All of them. https://getstream.io/chat/docs/node/send_reaction/ */
export async function listReactions(
  stream: StreamChat,
  messageId: string,
  { signal }: Stoppable = {},
): Promise<Reaction[]> {
  const found: Reaction[] = [];
  for (;;) {
    const query = { limit: String(PAGE), offset: String(found.length) };
    const path = `${messagePath(messageId)}/reactions`;
    const { reactions } = await stream.call({ kind: "GetReactions", method: "GET", path, query, signal }, listed);
    found.push(...reactions.map(({ type, user_id }) => ({ type, userId: user_id })));
    if (reactions.length < PAGE) return found;
  }
}
