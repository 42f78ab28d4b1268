import { type Actor, actAs } from "../core/identity.ts";
import type { Conversation } from "../db/tables.ts";
import type { EventUser, StreamEvent } from "./event.ts";
import { streamUserId, userIdOf } from "./users.ts";

/** Who a user of Stream's is here. */

/** Stream lets no client choose its role. */
const STAFF = ["agent", "moderator", "admin", "global_moderator", "global_admin"];
const isStaff = ({ role }: EventUser): boolean => STAFF.includes(role);

/** The conversation's user, an agent, or somebody else who was let into the channel. */
export type Person = { kind: "owner" | "agent" | "guest"; id: string };

export function personOf(
  { id, role }: EventUser,
  { userId, agentId }: Pick<Conversation, "userId" | "agentId">,
): Person {
  if (id === streamUserId(userId)) return { kind: "owner", id: userId };
  if (agentId !== null && id === streamUserId(agentId)) return { kind: "agent", id: agentId };
  return { kind: isStaff({ id, role }) ? "agent" : "guest", id: userIdOf(id) ?? id };
}

/** Whether a message that somebody sent here is this user's at Stream. */
export const isBy = (senderId: string | null, { id }: EventUser): boolean =>
  senderId !== null && (streamUserId(senderId) === id || (userIdOf(id) ?? id) === senderId);

/** Whose conversation a channel becomes that is new here: the sender's; or, of a sender who is staff, the first member's who is not. */
export function ownerOf({ message: { user: sender }, members }: StreamEvent, assistantId: string): string {
  const isCustomer = (user: EventUser) => !isStaff(user) && user.id !== assistantId;
  const others = (members ?? []).flatMap(({ user }) => user ?? []);
  const { id } = [sender, ...others].find(isCustomer) ?? sender;
  return userIdOf(id) ?? id;
}

/** Somebody in one user's conversations and no other's, whatever may be done there: Stream has let them. */
export const actorIn = ({ userId }: Pick<Conversation, "userId">, self: string): Actor =>
  actAs({ role: "admin", userId: self }, userId);

/** A user in its own conversations. */
export const ownerIn = (userId: string): Actor => actAs({ role: "user", userId }, undefined);
