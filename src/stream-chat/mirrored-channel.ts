import { z } from "zod";
import type { Conversation } from "../db/tables.ts";
import { addMembers, openChannel, removeMembers, updateChannel } from "./channels.ts";
import type { Stoppable } from "./client.ts";
import { needUsers, type PeopleDeps } from "./known-people.ts";

/** A conversation as a channel. */

export type ChannelDeps = PeopleDeps & {
  /** Which conversations are shown: all, or those that people are in. */
  readonly which: "all" | "sessions";
};

/** A channel as this process knows it to be. */
export type Mirrored = {
  readonly id: string;
  /** When it was made, in milliseconds: what was said there before is not in it. */
  readonly since: number;
  /** The revision up to which this process has shown it. Where the cursor is elsewhere, another has, and knows better. */
  progress: { readonly rev: number };
  /** Characters of one message. */
  limit: number;
  /** All of the conversation is there up to the revision that the cursor says; else it says nothing. */
  isWhole: boolean;
  agentId: string | null;
  /** What was last said of the session. */
  state: string;
  isFrozen: boolean;
};

/** What Stream takes where a channel does not say, in characters. */
const LIMIT = 5_000;

const mark = z.object({ whole: z.boolean(), live: z.boolean(), agent_id: z.string().nullable() }).loose();

/** Makes the channel of a session, or finds it. */
export async function openMirrored(
  deps: ChannelDeps,
  session: Conversation,
  { id, isNew, signal }: { id: string; isNew: boolean } & Stoppable,
): Promise<Omit<Mirrored, "progress">> {
  const { stream, assistantId, which } = deps;
  const people = [session.userId, ...(session.agentId === null ? [] : [session.agentId])];
  const members = [assistantId, ...(await needUsers(deps, people, { signal }))];
  const custom = stateOf(session, isNew);
  const opened = await openChannel(stream, id, { createdById: assistantId, members, custom, signal });
  const said = mark.safeParse(opened.parley).data;
  // One that a client has made may lack some.
  if (!said) await addMembers(stream, id, { members, signal });
  return {
    id,
    since: opened.createdAt ?? 0,
    limit: opened.maxMessageLength ?? LIMIT,
    // One from when all were shown, and nobody was in it, has missed what was said since.
    isWhole: said ? said.whole && (which === "all" || said.live) : false,
    agentId: said ? said.agent_id : session.agentId,
    isFrozen: opened.frozen,
    state: JSON.stringify({ ...(opened.name !== null && { name: opened.name }), parley: opened.parley }),
  };
}

/** Shows who is in a session, what it is called and how it stands; one that has ended takes no more messages there. */
export async function showSession(
  deps: ChannelDeps,
  session: Conversation,
  { channel, signal }: { channel: Mirrored } & Stoppable,
): Promise<void> {
  const { stream } = deps;
  const { id, agentId: before } = channel;
  const hasChanged = session.agentId !== before;
  if (hasChanged && session.agentId !== null) {
    const members = await needUsers(deps, [session.agentId], { signal });
    await addMembers(stream, id, { members, signal });
  }
  if (hasChanged && before !== null && before !== session.userId) {
    await removeMembers(stream, id, { members: await needUsers(deps, [before], { signal }), signal });
  }
  const set = stateOf(session, channel.isWhole);
  const state = JSON.stringify(set);
  const isFrozen = session.status === "ended";
  if (state !== channel.state || isFrozen !== channel.isFrozen) {
    await updateChannel(stream, id, { set: { ...set, frozen: isFrozen }, signal });
  }
  Object.assign(channel, { agentId: session.agentId, state, isFrozen });
}

/** A name that somebody has given the channel there stays while the session has none. */
function stateOf({ title, isLive: live, status, control, agentId }: Conversation, whole: boolean) {
  return { ...(title !== null && { name: title }), parley: { whole, live, status, control, agent_id: agentId } };
}
