import {
  actingUser,
  bounded,
  type Caller,
  type Channel,
  channelAt,
  existing,
  type Fields,
  fieldsOf,
  isObject,
  refuse,
  type State,
} from "./stream-chat-state.ts";

/** What Stream does with channels. */

const OWN = new Set(["id", "cid", "type", "created_at", "updated_at", "deleted_at", "created_by", "members", "config"]);

/** Gets a channel; or makes it, if it is not there. What is said of one that is there is not heeded. */
export function openChannel(state: State, caller: Caller, { id, body }: { id: string; body: Fields }): Fields {
  const channel = state.channels.get(id) ?? createChannel(state, caller, { id, data: body["data"] ?? {} });
  return { ...stateOf(state, channel, body["state"] !== false), duration: "1.00ms" };
}

function createChannel(state: State, caller: Caller, { id, data }: { id: string; data: unknown }): Channel {
  const { created_by_id, members = [], frozen = false, ...custom } = fieldsOf(data, "data");
  if (!/^[\w!-]{1,64}$/.test(id)) throw refuse.input(`"${id}" is not a valid channel id`);
  if (caller.server && typeof created_by_id !== "string") {
    throw refuse.input("either data.created_by or data.created_by_id must be provided when using server side auth.");
  }
  const [creator] = existing(state, [caller.server ? String(created_by_id) : caller.userId], "channel create");
  const ids = existing(state, idsOf(members), "channel create").map((user) => user.id);
  if (!creator) throw refuse.input("nobody creates it");
  const now = state.now();
  const channel: Channel = {
    ...{ id, cid: `messaging:${id}`, frozen: frozen === true, created_by: creator, created_at: now, updated_at: now },
    ...{ custom: ownFieldsOf(custom, "data"), members: [...new Set(ids)], messages: [], events: [] },
  };
  state.channels.set(id, channel);
  state.happen({ type: "channel.created", channel, by: creator });
  return channel;
}

/** Changes fields, `frozen` among them. */
export function changeChannel(state: State, { id, body }: { id: string; body: Fields }): Fields {
  const channel = channelAt(state, id);
  const { frozen = channel.frozen, ...set } = ownFieldsOf(body["set"] ?? {}, "set");
  Object.assign(channel.custom, set);
  channel.frozen = frozen === true;
  for (const name of idsOf(body["unset"] ?? [])) {
    if (name === "frozen") channel.frozen = false;
    else delete channel.custom[name];
  }
  channel.updated_at = state.now();
  state.happen({ type: "channel.updated", channel, by: null });
  return stateOf(state, channel, true);
}

/** Adds and removes members, of whom each may be one already, or not. */
export function changeMembers(state: State, { id, body }: { id: string; body: Fields }): Fields {
  const channel = channelAt(state, id);
  const [adds, removes] = [idsOf(body["add_members"] ?? []), idsOf(body["remove_members"] ?? [])];
  if (adds.length > 100 || removes.length > 100) throw refuse.input("at most 100 members at once");
  const added = existing(state, adds, "channel update").filter((user) => !channel.members.includes(user.id));
  channel.members.push(...new Set(added.map((user) => user.id)));
  for (const member of added) state.happen({ type: "member.added", channel, by: null, member: { user_id: member.id } });
  for (const gone of removes.filter((one) => channel.members.includes(one))) {
    channel.members = channel.members.filter((one) => one !== gone);
    state.happen({ type: "member.removed", channel, by: null, member: { user_id: gone } });
  }
  return stateOf(state, channel, true);
}

/** Either way what was in it is gone for who opens it anew; the ids of its messages stay taken unless it is deleted hard. */
export function deleteChannel(state: State, { id, hard }: { id: string; hard: boolean }): Fields {
  const channel = channelAt(state, id);
  state.channels.delete(id);
  if (hard) for (const message of channel.messages) state.messages.delete(message.id);
  state.happen({ type: "channel.deleted", channel, by: null });
  return { channel: shownChannel(state, channel), duration: "1.00ms" };
}

const BUILT_IN = /^(message|reaction|channel|member|notification|user|health|connection)\./;

export function sendEvent(state: State, caller: Caller, { id, body }: { id: string; body: Fields }): Fields {
  const channel = channelAt(state, id);
  const event = fieldsOf(body["event"], "event");
  const user = actingUser(state, caller, { what: "event", given: event });
  const type = String(event["type"] ?? "");
  if (type === "" || BUILT_IN.test(type)) throw refuse.event(type);
  const told = { ...event, cid: channel.cid, user_id: user.id, created_at: state.now() };
  channel.events.push(told);
  state.happen({ ...told, type, channel, by: user });
  return { event: told, duration: "1.00ms" };
}

/** With `state: false` the answer speaks of the channel alone. */
function stateOf(state: State, channel: Channel, whole: boolean): Fields {
  const members = whole ? membersOf(state, channel) : [];
  const messages = whole ? channel.messages.slice(-25) : [];
  return { channel: shownChannel(state, channel), members, messages, duration: "1.00ms" };
}

export const membersOf = (state: State, channel: Channel): Fields[] =>
  channel.members.map((user_id) => ({ user_id, user: state.users.get(user_id), channel_role: "channel_member" }));

export const shownChannel = (state: State, { custom, members, messages, events, ...channel }: Channel): Fields => ({
  ...custom,
  ...channel,
  ...{ type: "messaging", disabled: false, member_count: members.length },
  ...{ config: { name: "messaging", max_message_length: state.maxMessageLength } },
});

function ownFieldsOf(value: unknown, name: string): Fields {
  const fields = fieldsOf(value, name);
  const reserved = Object.keys(fields).find((field) => OWN.has(field));
  if (reserved) throw refuse.input(`${name}.${reserved} is a reserved field`);
  return bounded(fields, name);
}

function idsOf(value: unknown): string[] {
  if (!Array.isArray(value)) throw refuse.input("this must be a list");
  return value.map((one) => String(isObject(one) ? one["user_id"] : one));
}
