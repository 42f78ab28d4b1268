import { z } from "zod";
import type { Post } from "../core/thread.ts";
import type { Stoppable } from "./client.ts";
import { unlessMissing } from "./failures.ts";
import { needUsers } from "./known-people.ts";
import type { StreamMessage } from "./messages.ts";
import type { ChannelDeps } from "./mirrored-channel.ts";
import { addReaction, listReactions, type Reaction, removeReaction } from "./reactions.ts";

const counted = z.object({ reaction_counts: z.record(z.string(), z.number()).nullish() });

/**
 * Makes a message's reactions what they are here. One that a client has just added there, and that has not come here yet, is
 * left alone: only those that carry our mark are taken away.
 */
export async function showReactions(
  deps: ChannelDeps,
  { extensions }: Post,
  { shown, signal }: { shown: StreamMessage | null } & Stoppable,
): Promise<void> {
  if (!shown) return;
  const { stream } = deps;
  const wanted = new Map<string, Reaction>();
  for (const { type, data, authorId } of extensions) {
    if (type !== "reaction" || authorId === null) continue;
    const [userId = authorId] = await needUsers(deps, [authorId], { signal });
    const reaction = { type: String(data["emoji"]), userId };
    wanted.set(keyOf(reaction), reaction);
  }
  const counts = counted.safeParse(shown).data?.reaction_counts ?? {};
  if (wanted.size === 0 && Object.values(counts).every((count) => count === 0)) return;
  const there = new Map((await listReactions(stream, shown.id, { signal })).map((one) => [keyOf(one), one]));
  for (const [key, reaction] of wanted) {
    if (!there.get(key)?.isOurs) await addReaction(stream, shown.id, { ...reaction, signal });
  }
  for (const [key, { isOurs, ...reaction }] of there) {
    if (isOurs && !wanted.has(key)) await unlessMissing(removeReaction(stream, shown.id, { ...reaction, signal }));
  }
}

const keyOf = ({ type, userId }: Reaction) => JSON.stringify([type, userId]);
