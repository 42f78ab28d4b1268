/** What Stream refuses, in its own words and numbers. */
export class Refusal extends Error {
  readonly status: number;
  readonly code: number;
  constructor(status: number, code: number, message: string) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

export const refuse = {
  input: (message: string) => new Refusal(400, 4, message),
  missing: (message: string) => new Refusal(404, 16, message),
  denied: (message: string) => new Refusal(403, 17, message),
  tooLong: (most: number) => new Refusal(400, 20, `message.text must be a maximum of ${most} characters in length`),
  tooBig: (name: string) => new Refusal(413, 22, `${name}: the custom fields are larger than 5KB`),
  event: (type: string) => new Refusal(400, 18, `event type ${type} is not supported`),
};

/** Who calls: the app's server, which may do everything, or one of its users. */
export type Caller = { server: true } | { server: false; userId: string };

export type Fields = Record<string, unknown>;
export type User = { id: string; role: string; created_at: string; updated_at: string; [custom: string]: unknown };
export type Message = {
  id: string;
  cid: string;
  text: string;
  type: string;
  user: User;
  created_at: string;
  updated_at: string;
  deleted_at?: string;
  [custom: string]: unknown;
};
export type Reaction = {
  message_id: string;
  type: string;
  user_id: string;
  user: User;
  score: number;
  created_at: string;
  [custom: string]: unknown;
};
export type Channel = {
  id: string;
  cid: string;
  frozen: boolean;
  created_by: User;
  created_at: string;
  updated_at: string;
  custom: Fields;
  /** In the order in which they came. */
  members: string[];
  /** In the order in which they were sent; softly deleted ones among them. */
  messages: Message[];
  /** Events that were sent to it, in order; Stream itself keeps none. */
  events: Fields[];
};

/** Something that Stream tells its clients and its webhook. */
export type Happening = { type: string; channel: Channel; by: User | null } & Fields;

export type State = {
  users: Map<string, User>;
  channels: Map<string, Channel>;
  /** Of the whole app, by id. */
  messages: Map<string, Message>;
  reactions: Reaction[];
  maxMessageLength: number;
  /** How Stream measures a text; its documents say no more than "characters". */
  lengthOf(text: string): number;
  /** A text that is too long is an error with code 20 (as documented), or a message of type `error` (as their own tests have it). */
  tooLong: "code" | "message";
  now(): string;
  happen(happening: Happening): void;
};

export function createState(given: Pick<State, "maxMessageLength" | "lengthOf" | "tooLong" | "happen">): State {
  let last = 0;
  // No two things happen at the same time, so that what is newer shows.
  const now = () => {
    last = Math.max(Date.now(), last + 1);
    return new Date(last).toISOString();
  };
  return { users: new Map(), channels: new Map(), messages: new Map(), reactions: [], now, ...given };
}

export const isObject = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value);

export const fieldsOf = (value: unknown, name: string): Fields => {
  if (!isObject(value)) throw refuse.input(`${name} is a required field`);
  return value;
};

const CUSTOM_BYTES = 5 * 1024;

/** What an app makes up for users, channels and messages has a limit of its own; throws above it. */
export function bounded(fields: Fields, name: string): Fields {
  const { text: _, ...custom } = fields;
  if (Buffer.byteLength(JSON.stringify(custom)) > CUSTOM_BYTES) throw refuse.tooBig(name);
  const bad = Object.keys(fields).find((key) => /\s|^\.|\.$|\.\./.test(key));
  if (bad !== undefined) throw refuse.input(`${name}: "${bad}" is not a valid field name`);
  return fields;
}

const USER_ID = /^[a-zA-Z0-9@_-]{1,255}$/;

/** Replaces what was known of each. */
export function upsertUsers(state: State, users: Fields): Record<string, User> {
  const given = Object.entries(users);
  if (given.length === 0 || given.length > 100) throw refuse.input("users must contain 1 to 100 items");
  const made = given.map(([id, value]) => {
    const user = fieldsOf(value, `users[${id}]`);
    if (user["id"] !== id || !USER_ID.test(id))
      throw refuse.input(`user.id ${id} is invalid: only a-z, 0-9, @, _ and -`);
    bounded(user, "user");
    const { created_at = state.now() } = state.users.get(id) ?? {};
    return { ...user, id, role: String(user["role"] ?? "user"), created_at, updated_at: state.now() };
  });
  for (const user of made) state.users.set(user.id, user);
  return Object.fromEntries(made.map((user) => [user.id, user]));
}

/** Those of the named ones that are there: of all filters only this one is known here. */
export function queryUsers(state: State, payload: string): User[] {
  const { filter_conditions, limit = 30 } = JSON.parse(payload);
  const ids = isObject(filter_conditions) && isObject(filter_conditions["id"]) ? filter_conditions["id"]["$in"] : null;
  if (!Array.isArray(ids) || ids.length > 100) throw refuse.input("filter_conditions.id.$in must have 1 to 100 items");
  return ids.flatMap((id) => state.users.get(String(id)) ?? []).slice(0, limit);
}

/** The user in whose name somebody acts: `user_id` or `user.id` of what the server says, or the caller itself. */
export function actingUser(state: State, caller: Caller, { what, given }: { what: string; given: Fields }): User {
  const named = given["user_id"] ?? (isObject(given["user"]) ? given["user"]["id"] : undefined);
  if (caller.server && typeof named !== "string") {
    throw refuse.input(`either ${what}.user or ${what}.user_id must be provided when using server side auth.`);
  }
  if (!caller.server && named !== undefined && named !== caller.userId) throw refuse.denied("this is another user");
  return existing(state, [caller.server ? String(named) : caller.userId], what)[0] as User;
}

/** Users have to be there before they take part. github.com/GetStream/stream-chat-ruby/issues/133 */
export function existing(state: State, ids: readonly string[], what: string): User[] {
  const missing = ids.filter((id) => !state.users.has(id));
  if (missing.length > 0) {
    const text = `The following users are involved in ${what} operation, but don't exist: [${missing.join(" ")}].`;
    throw refuse.input(`${text} Please create the user objects before setting up the channel.`);
  }
  return ids.flatMap((id) => state.users.get(id) ?? []);
}

export function channelAt(state: State, id: string): Channel {
  const channel = state.channels.get(id);
  if (!channel) throw refuse.missing(`Can't find channel with id messaging:${id}`);
  return channel;
}

export function messageAt(state: State, id: string): Message {
  const message = state.messages.get(id);
  if (!message) throw refuse.missing(`message with ID ${id} doesn't exist`);
  return message;
}

export const channelOf = (state: State, message: Message): Channel =>
  channelAt(state, message.cid.slice(message.cid.indexOf(":") + 1));
