import { z } from "zod";
import { type Change, channelPath } from "./channels.ts";
import type { Asked, Stoppable, StreamChat } from "./client.ts";
import { StreamChatError } from "./failures.ts";

const message = z.looseObject({
  id: z.string(),
  text: z.string().catch(""),
  /** `deleted` for one that was softly deleted. */
  type: z.string().catch("regular"),
  user: z.object({ id: z.string() }).nullish(),
  created_at: z.string(),
  updated_at: z.string(),
  deleted_at: z.string().nullish(),
});
const answered = z.object({ message });

/** A message as Stream keeps it, with the fields that were made up for it. */
export type StreamMessage = z.output<typeof message>;

export type NewMessage = { id: string; text: string; user_id: string; [custom: string]: unknown };

/** What Stream says of a message that it answers with and does not keep: github.com/GetStream/stream-chat-js, test/integration/test.js. */
const NOT_KEPT = new Set(["error", "ephemeral"]);

/**
 * Sends a message in the name of a user. Throws `exists` where its id is taken anywhere in the app, `too_long`, `too_big`,
 * `not_kept`, and `not_found` where there is no such channel. https://getstream.io/chat/docs/node/send_message/
 */
export async function sendMessage(
  stream: StreamChat,
  channelId: string,
  { signal, ...message }: NewMessage & Stoppable,
): Promise<StreamMessage> {
  const { id, text, user_id: userId } = message;
  // "/giphy rock" would be run as a command and not kept; in a change of what is there it is a text.
  const isCommand = text.startsWith("/");
  const [path, body] = [
    `${channelPath(channelId)}/message`,
    { message: { ...message, ...(isCommand && { text: "" }) } },
  ];
  const sent = await one(stream, { kind: "SendMessage", method: "POST", path, body, signal });
  if (NOT_KEPT.has(sent.type)) throw new StreamChatError({ kind: "not_kept", status: 201 });
  return isCommand ? updateMessage(stream, id, { set: { text }, userId, signal }) : sent;
}

/** Also one that was softly deleted. Throws `not_found`. */
export const getMessage = (stream: StreamChat, id: string, { signal }: Stoppable = {}): Promise<StreamMessage> =>
  one(stream, { kind: "GetMessage", method: "GET", path: messagePath(id), signal });

type MessageChange = Change & {
  /** In whose name. */
  userId: string;
};

/** Changes some of a message's fields, for good; it counts in the budget. Throws `not_found`, `too_long` and `too_big`. https://getstream.io/chat/docs/node/send_message/#partial-update */
export function updateMessage(stream: StreamChat, id: string, change: MessageChange): Promise<StreamMessage> {
  stream.quota.budget.tryTake("final");
  return one(stream, { kind: "UpdateMessage", method: "PUT", path: messagePath(id), ...asBody(change) });
}

/**
 * Shows a change to who watches, and stores nothing: for text that grows. Whoever calls asks the budget first.
 * https://getstream.io/chat/docs/node/ai-message-streaming/
 */
export async function updateEphemeral(stream: StreamChat, id: string, change: MessageChange): Promise<void> {
  const path = `${messagePath(id)}/ephemeral`;
  await stream.call({ kind: "UpdateMessageEphemeral", method: "PATCH", path, ...asBody(change) }, z.unknown());
}

/** Softly, a message stays in its place without a text; hard, nothing is left. Throws `not_found`. */
export async function deleteMessage(
  stream: StreamChat,
  id: string,
  { hard, signal }: Stoppable & { hard: boolean },
): Promise<void> {
  const query = hard ? { hard: "true" } : {};
  await stream.call({ kind: "DeleteMessage", method: "DELETE", path: messagePath(id), query, signal }, z.unknown());
}

const asBody = ({ set, userId, signal }: MessageChange) => ({
  body: { set, user: { id: userId } },
  signal,
});

export const messagePath = (id: string) => `/messages/${encodeURIComponent(id)}`;

async function one(stream: StreamChat, asked: Asked): Promise<StreamMessage> {
  const { message } = await stream.call(asked, answered);
  return message;
}
