import { openChannel } from "./stream-chat-channels.ts";
import { addReaction, changeMessage, deleteMessage, removeReaction, sendMessage } from "./stream-chat-messages.ts";
import { type Caller, type Fields, isObject, type State, upsertUsers } from "./stream-chat-state.ts";

/** One of the app's users, with Stream's client in hand; it is made if it is not there. */
export type StreamUser = {
  /** Opens a channel, of which it becomes a member, with others if they are named. */
  open(channelId: string, members?: readonly string[]): void;
  /** Gives the message's id. */
  send(channelId: string, text: string, more?: Fields): string;
  edit(messageId: string, text: string): void;
  delete(messageId: string, how?: { hard: boolean }): void;
  react(messageId: string, type: string): void;
  unreact(messageId: string, type: string): void;
};

export function userOf(state: State, userId: string): StreamUser {
  if (!state.users.has(userId)) upsertUsers(state, { [userId]: { id: userId } });
  const me: Caller = { server: false, userId };
  return {
    open(id, members = []) {
      openChannel(state, me, { id, body: { data: { members: [userId, ...members] } } });
    },
    send(id, text, more = {}) {
      const { message } = sendMessage(state, me, { id, body: { message: { text, ...more } } });
      return isObject(message) ? String(message["id"]) : "";
    },
    edit: (id, text) => void changeMessage(state, me, { id, body: { set: { text } }, kept: true }),
    delete: (id, { hard } = { hard: false }) => void deleteMessage(state, me, { id, hard }),
    react: (id, type) => void addReaction(state, me, { id, body: { reaction: { type } } }),
    unreact: (id, type) => void removeReaction(state, me, { id, type, userId: null }),
  };
}
