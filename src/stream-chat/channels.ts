import { z } from "zod";
import type { Asked, Stoppable, StreamChat } from "./client.ts";
import type { CallKind } from "./quota.ts";

/** Every conversation is a channel of this type. */
export const CHANNEL_TYPE = "messaging";

export type Channel = {
  /** In characters; null where the answer does not say. */
  maxMessageLength: number | null;
  frozen: boolean;
  name: string | null;
  /** In milliseconds, by Stream's clock; null where the answer does not say. */
  createdAt: number | null;
  /** What this service has noted on it. */
  parley: unknown;
};

const state = z.object({
  channel: z.object({
    frozen: z.boolean().catch(false),
    name: z.string().nullish().catch(null),
    created_at: z.coerce.date().nullish().catch(null),
    parley: z.unknown().optional(),
    config: z.object({ max_message_length: z.number().int().positive().nullish().catch(null) }).nullish(),
  }),
});

type Opening = Stoppable & { createdById: string; members?: readonly string[]; custom?: Record<string, unknown> };

/**
 * Creates a channel or gets it; of one that is there nothing is changed. Users must exist before they are its members.
 * https://getstream.io/chat/docs/node/creating_channels/
 */
export async function openChannel(
  stream: StreamChat,
  id: string,
  { createdById, members, custom, signal }: Opening,
): Promise<Channel> {
  const body = { data: { ...custom, created_by_id: createdById, ...(members && { members }) }, state: false };
  const asked = { kind: "GetOrCreateChannel", method: "POST", path: `${channelPath(id)}/query`, body, signal } as const;
  const { channel } = await stream.call(asked, state);
  return {
    maxMessageLength: channel.config?.max_message_length ?? null,
    frozen: channel.frozen,
    name: channel.name ?? null,
    createdAt: channel.created_at?.getTime() ?? null,
    parley: channel.parley,
  };
}

/** What is set anew. */
export type Change = Stoppable & { set: Record<string, unknown> };

/** Changes some of a channel's fields: its own, or `frozen`. https://getstream.io/chat/docs/node/channel_update/ */
export const updateChannel = (stream: StreamChat, id: string, { set, signal }: Change) =>
  change(stream, id, { method: "PATCH", body: { set }, signal });

type Members = Stoppable & { members: readonly string[] };

/** Who is a member already stays one. A hundred at most, who must exist as users. */
export const addMembers = (stream: StreamChat, id: string, { members, signal }: Members) =>
  change(stream, id, { method: "POST", body: { add_members: members }, signal });

export const removeMembers = (stream: StreamChat, id: string, { members, signal }: Members) =>
  change(stream, id, { method: "POST", body: { remove_members: members }, signal });

/** Takes a channel away, for good and with all its messages. Throws `not_found`. */
export async function deleteChannel(stream: StreamChat, id: string, { signal }: Stoppable = {}): Promise<void> {
  const query = { hard_delete: "true" };
  await done(stream, { kind: "DeleteChannel", method: "DELETE", path: channelPath(id), query, signal });
}

/** An event that Stream hands to who watches the channel, and does not keep. */
export type StreamEvent = { type: string; user_id: string; [custom: string]: unknown };

/** https://getstream.io/chat/docs/node/custom_events/ */
export async function sendEvent(
  stream: StreamChat,
  channelId: string,
  { signal, ...event }: StreamEvent & Stoppable,
): Promise<void> {
  const path = `${channelPath(channelId)}/event`;
  await done(stream, { kind: "SendEvent", method: "POST", path, body: { event }, signal });
}

export const channelPath = (id: string) => `/channels/${CHANNEL_TYPE}/${encodeURIComponent(id)}`;

const change = (stream: StreamChat, id: string, how: Pick<Asked, "method" | "body" | "signal">) =>
  done(stream, { kind: "UpdateChannel" satisfies CallKind, path: channelPath(id), ...how });

/** A call of whose answer nothing is used. */
async function done(stream: StreamChat, asked: Asked): Promise<void> {
  await stream.call(asked, z.unknown());
}
