import type { Stoppable, StreamChat } from "./client.ts";
import { createKnown, type Known } from "./known.ts";
import { encodedUserId, findUsers, streamUserId, upsertUsers } from "./users.ts";

/** Users are looked for once in a process's time: so many are remembered. */
const MOST = 50_000;

/** Users that are there already, by their ids at Stream. */
export type People = Known<true>;

export const createPeople = (): People => createKnown<true>(MOST);

export type PeopleDeps = { readonly stream: StreamChat; readonly people: People; readonly assistantId: string };

/**
 * Makes those users, and the assistant, that Stream does not have: what a product has said of its own, their names and
 * pictures, stays. Gives the users' ids there, none of which is the assistant's.
 */
export async function needUsers(
  { stream, people, assistantId }: PeopleDeps,
  userIds: readonly string[],
  { signal }: Stoppable,
): Promise<string[]> {
  const idOf = (userId: string) => (userId === assistantId ? encodedUserId(userId) : streamUserId(userId));
  const names = new Map([[assistantId, assistantId], ...userIds.map((userId) => [idOf(userId), userId] as const)]);
  const unknown = [...names.keys()].filter((id) => !people.has(id));
  if (unknown.length > 0) {
    const found = new Set(await findUsers(stream, unknown, { signal }));
    const missing = unknown.filter((id) => !found.has(id)).map((id) => ({ id, name: names.get(id) ?? id }));
    if (missing.length > 0) await upsertUsers(stream, missing, { signal });
    for (const id of unknown) people.put(id, true);
  }
  return userIds.map(idOf);
}
