import {
  actingUser,
  bounded,
  type Caller,
  channelAt,
  channelOf,
  type Fields,
  fieldsOf,
  type Message,
  messageAt,
  type Reaction,
  refuse,
  type State,
  type User,
} from "./stream-chat-state.ts";

/** What Stream does with messages and reactions. */

const OWN = ["cid", "html", "created_at", "updated_at", "deleted_at", "latest_reactions", "own_reactions"];
const RESERVED = new Set([...OWN, "reaction_counts", "reaction_scores", "reply_count", "command"]);

export function sendMessage(state: State, caller: Caller, { id, body }: { id: string; body: Fields }): Fields {
  const channel = channelAt(state, id);
  const { user: _, user_id: __, ...given } = fieldsOf(body["message"], "message");
  const user = actingUser(state, caller, { what: "message", given: fieldsOf(body["message"], "message") });
  if (!caller.server && !channel.members.includes(user.id)) throw refuse.denied("User is not allowed to CreateMessage");
  const fields = checked(state, given, { name: "message", mayBeLong: state.tooLong === "message" || !caller.server });
  const sent = { id: crypto.randomUUID(), type: "regular", ...fields };
  if (state.messages.has(String(sent.id))) throw refuse.input(`a message with ID ${sent.id} already exists`);
  const now = state.now();
  const text = String(given["text"] ?? "");
  const message: Message = {
    ...sent,
    id: String(sent.id),
    text,
    cid: channel.cid,
    user,
    created_at: now,
    updated_at: now,
  };
  const type = fateOf(state, caller, { text, isFrozen: channel.frozen });
  if (type !== "regular") return { message: { ...message, type }, duration: "1.00ms" };
  state.messages.set(message.id, message);
  channel.messages.push(message);
  state.happen({ type: "message.new", channel, by: user, message: shownMessage(state, message) });
  return { message: shownMessage(state, message), duration: "1.00ms" };
}

/** One that was softly deleted is there without what it said. */
export const getMessage = (state: State, id: string): Fields => ({
  message: shownMessage(state, messageAt(state, id)),
  duration: "1.00ms",
});

type Changing = { id: string; body: Fields /** Whether it is stored. */; kept: boolean };

/** Changes a part of a message; or only shows the change to who watches. */
export function changeMessage(state: State, caller: Caller, { id, body, kept }: Changing): Fields {
  const message = messageAt(state, id);
  if (message.deleted_at) throw refuse.missing(`message with ID ${id} doesn't exist`);
  const by = actingUser(state, caller, { what: "user", given: body });
  if (!kept && !caller.server) throw refuse.denied("only a server may do this");
  mayTouch(caller, message);
  const set = checked(state, fieldsOf(body["set"] ?? {}, "set"), { name: "set" });
  const unset = Array.isArray(body["unset"]) ? body["unset"].map(String) : [];
  const target = kept ? message : { ...message };
  Object.assign(target, set, { updated_at: state.now() });
  for (const name of unset) delete target[name];
  const channel = channelOf(state, message);
  state.happen({ type: "message.updated", channel, by, message: shownMessage(state, target), ephemeral: !kept });
  return { message: shownMessage(state, target), duration: "1.00ms" };
}

export function deleteMessage(state: State, caller: Caller, { id, hard }: { id: string; hard: boolean }): Fields {
  const message = messageAt(state, id);
  if (message.deleted_at && !hard) throw refuse.missing(`message with ID ${id} doesn't exist`);
  mayTouch(caller, message);
  const channel = channelOf(state, message);
  message.deleted_at = state.now();
  message.type = "deleted";
  state.reactions = state.reactions.filter((one) => one.message_id !== id);
  if (hard) {
    state.messages.delete(id);
    channel.messages = channel.messages.filter((one) => one !== message);
  }
  const by = caller.server ? message.user : (state.users.get(caller.userId) ?? null);
  const told = shownMessage(state, message);
  state.happen({ type: "message.deleted", channel, by, message: told, ...(hard && { hard_delete: true }) });
  return { message: told, duration: "1.00ms" };
}

export function addReaction(state: State, caller: Caller, { id, body }: { id: string; body: Fields }): Fields {
  const message = messageAt(state, id);
  const given = fieldsOf(body["reaction"], "reaction");
  const user = actingUser(state, caller, { what: "reaction", given });
  const [channel, type] = [channelOf(state, message), String(given["type"] ?? "")];
  if (type === "") throw refuse.input("reaction.type is a required field");
  if (channel.frozen && !caller.server) throw refuse.denied("the channel is frozen");
  const isNew = !state.reactions.some(isOne(id, type, user));
  state.reactions = state.reactions.filter((one) => !isOne(id, type, user)(one));
  const { user_id: _, user: __, ...custom } = given;
  const reaction: Reaction = {
    ...custom,
    message_id: id,
    type,
    user_id: user.id,
    user,
    score: 1,
    created_at: state.now(),
  };
  state.reactions.push(reaction);
  const told = shownMessage(state, message);
  state.happen({ type: isNew ? "reaction.new" : "reaction.updated", channel, by: user, message: told, reaction });
  return { message: told, reaction, duration: "1.00ms" };
}

type Taking = { id: string; type: string; userId: string | null };

export function removeReaction(state: State, caller: Caller, { id, type, userId }: Taking): Fields {
  const message = messageAt(state, id);
  const given = userId === null ? {} : { user_id: userId };
  const user = actingUser(state, caller, { what: "reaction", given });
  const reaction = state.reactions.find(isOne(id, type, user));
  if (!reaction) throw refuse.missing(`reaction ${type} of ${user.id} doesn't exist`);
  const channel = channelOf(state, message);
  if (channel.frozen && !caller.server) throw refuse.denied("the channel is frozen");
  state.reactions = state.reactions.filter((one) => one !== reaction);
  const told = shownMessage(state, message);
  state.happen({ type: "reaction.deleted", channel, by: user, message: told, reaction });
  return { message: told, reaction, duration: "1.00ms" };
}

/** Newest first. */
export function listReactions(
  state: State,
  { id, limit, offset }: { id: string; limit: number; offset: number },
): Fields {
  messageAt(state, id);
  if (!(limit >= 1 && limit <= 300)) throw refuse.input("limit must be 300 or less");
  const all = state.reactions.filter((one) => one.message_id === id).toReversed();
  return { reactions: all.slice(offset, offset + limit), duration: "1.00ms" };
}

/** As an answer or an event has it. */
export function shownMessage(state: State, message: Message): Fields {
  const reactions = state.reactions.filter((one) => one.message_id === message.id);
  const counts = Object.fromEntries(
    Object.entries(Object.groupBy(reactions, (one) => one.type)).map(([type, of]) => [type, of?.length]),
  );
  return {
    ...message,
    ...(message.deleted_at !== undefined && { text: "" }),
    ...{ attachments: message["attachments"] ?? [], latest_reactions: reactions.slice(-10).toReversed() },
    ...{ own_reactions: [], reaction_counts: counts, reaction_scores: counts, reply_count: 0 },
  };
}

const isOne = (id: string, type: string, user: User) => (one: Reaction) =>
  one.message_id === id && one.type === type && one.user_id === user.id;

function mayTouch(caller: Caller, message: Message): void {
  if (!caller.server && message.user.id !== caller.userId) throw refuse.denied("this is another user's message");
}

/** What becomes of a text: a message; an `error`; or, of one that begins with a slash, a command's draft. Only messages are kept. */
function fateOf(state: State, caller: Caller, { text, isFrozen }: { text: string; isFrozen: boolean }) {
  if ((isFrozen && !caller.server) || state.lengthOf(text) > state.maxMessageLength) return "error";
  const [, command] = /^\/(\w+)/.exec(text) ?? [];
  if (command === undefined) return "regular";
  return command === "giphy" ? "ephemeral" : "error";
}

function checked(
  state: State,
  fields: Fields,
  { name, mayBeLong = false }: { name: string; mayBeLong?: boolean },
): Fields {
  const reserved = Object.keys(fields).find((field) => RESERVED.has(field));
  if (reserved) throw refuse.input(`${name}.${reserved} is a reserved field`);
  const text = fields["text"];
  const isLong = typeof text === "string" && state.lengthOf(text) > state.maxMessageLength;
  if (isLong && !mayBeLong) throw refuse.tooLong(state.maxMessageLength);
  return bounded(fields, name);
}
