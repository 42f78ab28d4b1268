import { addExtension, removeExtension } from "../core/extensions.ts";
import { findPost } from "../core/thread.ts";
import type { Extension } from "../db/tables.ts";
import { type ReactionEvent, timeIn } from "./event.ts";
import { actorIn, personOf } from "./people.ts";
import { findPlace, wholeOf } from "./place.ts";
import { DONE, type Outcome, refused, type TakeOverDeps, UNKNOWN } from "./take-over.ts";

/** Takes over that somebody has reacted, or does no more. Throws where trying again may help. */
export async function takeReaction(deps: TakeOverDeps, event: ReactionEvent): Promise<Outcome> {
  const { turns, assistantId } = deps;
  const { message, reaction, channel_id: channelId } = event;
  const place = await findPlace(turns.db, channelId, message.id);
  const { conversation, known, refusal } = place;
  if (refusal) return refused(refusal);
  // What we put there ourselves may be gone here since.
  if (reaction.user_id === assistantId || (event.type !== "reaction.deleted" && reaction.parley)) return DONE;
  if (!conversation || !known) return (await wholeOf(turns.db, place, event)) ? DONE : UNKNOWN;
  if (known.message.deletedAt !== null) return DONE;
  const author = personOf({ id: reaction.user_id, role: "user" }, conversation).id;
  const actor = actorIn(conversation, author);
  const { id: messageId, extensions } = await findPost(turns.db, actor, known.message.id);
  const own = extensions.filter(({ type, authorId }) => type === "reaction" && authorId === author);
  if (event.type !== "reaction.deleted") await addExtension(turns, actor, { messageId, ...hungAt(event) });
  for (const { id } of own.filter(isGoneBy(event))) await removeExtension(turns, actor, { messageId, id });
  return DONE;
}

const hungAt = ({ reaction }: ReactionEvent) => ({
  extension: { type: "reaction", data: { emoji: reaction.type } },
  key: null,
  at: timeIn(reaction.created_at),
  respond: (hung: Extension) => hung,
});

/** Stream tells of the newest of a message's reactions; only where these are all, one that is not among them is gone. */
const MOST_TOLD = 10;

/** Which reactions of its author an event takes away: the one that it says, or all others that it has taken the place of. */
function isGoneBy({ type, created_at, reaction, message }: ReactionEvent): (one: Extension) => boolean {
  if (type === "reaction.deleted") {
    // One that was made anew here since is another: so our own taking away comes back.
    return ({ data, createdAt }) => data["emoji"] === reaction.type && createdAt <= timeIn(created_at);
  }
  const told = message.latest_reactions ?? [];
  if (type === "reaction.new" || told.length === 0 || told.length >= MOST_TOLD) return () => false;
  const kept = told.filter(({ user_id }) => user_id === reaction.user_id).map((one) => one.type);
  return ({ data }) => data["emoji"] !== reaction.type && !kept.includes(String(data["emoji"]));
}
