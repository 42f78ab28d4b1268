import { createConversation } from "../../src/core/conversations.ts";
import { addExtension } from "../../src/core/extensions.ts";
import type { Actor } from "../../src/core/identity.ts";
import type { TurnDeps } from "../../src/core/live.ts";
import { type NewExtension, type NewPost, type PostDeps, post } from "../../src/core/posting.ts";
import { bornState, type Move } from "../../src/core/session-moves.ts";
import { changeSession, getSession, type Session } from "../../src/core/sessions.ts";
import type { Db } from "../../src/db/db.ts";
import type { Conversation, Extension, Message } from "../../src/db/tables.ts";
import { as, messagesOf, NOW, newUser } from "./core-instance.ts";

export const ADMIN = as("admin", "root");
export const ANN = as("agent", "ann");
export const BEN = as("agent", "ben");

export type Live = { owner: Actor; id: string; read(): Promise<Session> };

/** A session of a new customer. */
export async function newSession(db: Db, agentId: string | null = null): Promise<Live> {
  const owner = newUser();
  const { control } = bornState(agentId);
  const live = { isLive: true, control, agentId, metadata: null, previousId: null };
  const made = { title: null, live, now: NOW, key: null, respond: (row: Conversation) => row };
  const { id } = await createConversation(db, owner, made);
  return { owner, id, read: () => getSession(db, ADMIN, id) };
}

export const ASK: Move = { to: "agent", agentId: null };
export const BACK: Move = { to: "assistant" };
export const END: Move = { to: "end" };
export const accept = ({ self }: Actor): Move => ({ to: "accept", agentId: self });
export const assign = (agentId: string): Move => ({ to: "agent", agentId });

export const move = (deps: TurnDeps, actor: Actor, { id }: { id: string }, wanted: Move): Promise<Session> =>
  changeSession(deps, actor, { id, move: wanted });

/** What one says who is no model: a customer as such, an agent as an agent. */
export const say = (
  deps: TurnDeps,
  actor: Actor,
  { id }: { id: string },
  content: string,
  set: Partial<NewPost> = {},
) => {
  const role = actor.sees === "own" ? "user" : "agent";
  const said = { conversationId: id, content, role, senderId: actor.self, metadata: null, extensions: [], key: null };
  return post(deps, actor, { ...said, ...set } as NewPost);
};

/** The notes of a session's moves, in the order of the thread. */
export const notesOf = async (db: Db, id: string): Promise<Message[]> =>
  (await messagesOf(db, id)).filter(({ role }) => role === "system");

type Hung = { messageId: string; extension: NewExtension };

/** Hangs something on a message, under no key. */
export const hang = (deps: PostDeps, actor: Actor, hung: Hung): Promise<Extension> =>
  addExtension(deps, actor, { ...hung, key: null, respond: (extension) => extension });
