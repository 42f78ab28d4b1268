import { z } from "zod";
import type { Post } from "../core/thread.ts";
import type { Conversation } from "../db/tables.ts";
import type { Stoppable } from "./client.ts";
import { isFailure, unlessMissing } from "./failures.ts";
import type { Growth } from "./growth.ts";
import { needUsers } from "./known-people.ts";
import { deleteMessage, getMessage, type StreamMessage, sendMessage, updateMessage } from "./messages.ts";
import type { ChannelDeps, Mirrored } from "./mirrored-channel.ts";
import { showReactions } from "./mirrored-reactions.ts";
import { mostParts, type Part, partId, partsOf } from "./parts.ts";

/** A message of a session as it stands in the channel. Whatever is done here may be done again. */

export type MessageDeps = ChannelDeps & {
  readonly growth: Growth;
  readonly log: { error(fields: object, message: string): void };
};

type Place = Stoppable & {
  channel: Mirrored;
  session: Conversation;
  /** Its id at Stream where it came from there. */
  origin: string | undefined;
  /** It was never shown, most likely. */
  isNew: boolean;
};

/** Shows a message as it is now. Throws StreamChatError. */
export async function showMessage(deps: MessageDeps, post: Post, place: Place): Promise<void> {
  const { origin } = place;
  if (post.deletedAt !== null || post.supersededAt !== null) return hideMessage(deps, post, place);
  if (origin !== undefined && post.rev === post.seq && post.createdAt >= place.channel.since) return; // as it came
  const isOpen = post.status === "in_progress";
  if (!isOpen) await deps.growth.end(post.id);
  const id = origin ?? post.id;
  const parts = partsOf(post, { id, limit: place.channel.limit });
  if (post.editedAt !== null) await removeParts(deps, post, { ...place, keep: parts.length });
  const userId = await senderOf(deps, post, place);
  const said = { ...place, userId, isOpen, isSystem: post.role === "system" };
  const shown = await showParts(deps, parts, said).catch((error) => {
    if (!isFailure(error, "too_big") || post.extensions.length === 0) throw error;
    deps.log.error({ message_id: post.id }, "Stream Chat finds a message's attachments too large; it has none there");
    return showParts(deps, partsOf({ ...post, extensions: [] }, { id, limit: place.channel.limit }), said);
  });
  await showReactions(deps, post, { shown: shown.first, signal: place.signal });
  if (post.role === "assistant")
    await deps.growth.tell(post, { channel: place.channel, ...shown, signal: place.signal });
}

/** A message is softly deleted, so that its place is seen; of further parts nothing is left. */
async function hideMessage(deps: MessageDeps, post: Post, place: Place): Promise<void> {
  await deps.growth.end(post.id);
  await removeParts(deps, post, { ...place, keep: 1 });
  const id = place.origin ?? post.id;
  await unlessMissing(deleteMessage(deps.stream, id, { hard: false, signal: place.signal }));
}

const marked = z.object({ parley: z.object({ parts: z.number() }) });

/**
 * Removes the parts that an earlier text had and this one has not, the last first: the first one says how many there are.
 * Its author may say anything there.
 */
async function removeParts({ stream }: MessageDeps, post: Post, { keep, origin, signal }: Place & { keep: number }) {
  const before = marked.safeParse(await unlessMissing(getMessage(stream, origin ?? post.id, { signal }))).data;
  for (let part = Math.min(before?.parley.parts ?? 1, mostParts(post)); part > keep; part--) {
    await unlessMissing(deleteMessage(stream, partId(post.id, part), { hard: true, signal }));
  }
}

async function senderOf(deps: MessageDeps, { role, senderId }: Post, { session, signal }: Place): Promise<string> {
  if (role === "assistant" || role === "system") return deps.assistantId;
  const [userId] = await needUsers(deps, [senderId ?? session.userId], { signal });
  return userId ?? deps.assistantId;
}

type Said = Place & { userId: string; isOpen: boolean; isSystem: boolean };

/** `first`: the first part as Stream answers it; `wasThere`: it had been shown before. */
type ShownParts = { first: StreamMessage | null; wasThere: boolean };

async function showParts(deps: MessageDeps, parts: readonly Part[], said: Said): Promise<ShownParts> {
  let shown: ShownParts = { first: null, wasThere: false };
  for (const part of parts) {
    const one = said.isNew ? await send(deps, part, said) : await update(deps, part, said);
    if (part === parts[0]) shown = one;
  }
  return shown;
}

async function send(deps: MessageDeps, part: Part, said: Said): Promise<ShownParts> {
  const { id, text, fields } = part;
  const { userId, isSystem, channel, signal } = said;
  const message = { ...fields, id, text, user_id: userId, ...(isSystem && { type: "system" }), signal };
  try {
    return { first: await sendMessage(deps.stream, channel.id, message), wasThere: false };
  } catch (error) {
    if (!isFailure(error, "exists")) throw error;
    return update(deps, part, { ...said, isNew: true });
  }
}

async function update(deps: MessageDeps, part: Part, said: Said): Promise<ShownParts> {
  const { userId, isOpen, isNew, origin, signal } = said;
  const { attachments, ...fields } = part.fields;
  // What grows is left as it is shown; what came from Stream has its attachments there.
  const set = { ...fields, ...(!isOpen && { text: part.text }), ...(origin === undefined && { attachments }) };
  try {
    return { first: await updateMessage(deps.stream, part.id, { set, userId, signal }), wasThere: true };
  } catch (error) {
    if (!isFailure(error, "not_found")) throw error;
    // Its id is taken and it is not there: it was deleted there, and that may be on its way here.
    return isNew ? { first: null, wasThere: false } : send(deps, part, { ...said, isNew: true });
  }
}
