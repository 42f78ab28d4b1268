import { z } from "zod";
import type { Stoppable, StreamChat } from "./client.ts";
import { messagePath } from "./messages.ts";

/** One per user and type. */
export type Reaction = { type: string; userId: string };

/** `isOurs`: this service has put it there, or knows of it. */
export type Listed = Reaction & { isOurs: boolean };

const listed = z.object({
  reactions: z.array(z.object({ type: z.string(), user_id: z.string(), parley: z.unknown().optional() })),
});

/** Reactions of one answer, the most that Stream gives. */
const PAGE = 300;

/** Marks it as ours; once more changes nothing else. Throws `not_found` where there is no such message. */
export async function addReaction(
  stream: StreamChat,
  messageId: string,
  { type, userId, signal }: Reaction & Stoppable,
): Promise<void> {
  const [path, body] = [`${messagePath(messageId)}/reaction`, { reaction: { type, user_id: userId, parley: true } }];
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
): Promise<Listed[]> {
  const found: Listed[] = [];
  for (;;) {
    const query = { limit: String(PAGE), offset: String(found.length) };
    const path = `${messagePath(messageId)}/reactions`;
    const { reactions } = await stream.call({ kind: "GetReactions", method: "GET", path, query, signal }, listed);
    found.push(...reactions.map((one) => ({ type: one.type, userId: one.user_id, isOurs: one.parley === true })));
    if (reactions.length < PAGE) return found;
  }
}
