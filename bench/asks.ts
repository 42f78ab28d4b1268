import { LISTED, MODEL, QUESTION } from "./traffic.ts";

/** What a client asks, over and over. */
export type Ask = {
  method: "GET" | "POST";
  /** `{id}` is a conversation's. */
  path: string;
  body?: (conversationId: string | undefined) => object;
  /** What stands in every answer. */
  expected: string;
  /** What stands where the model's text begins. */
  first?: string;
};

const send = (more: object) => (conversation_id: string | undefined) => ({
  message: QUESTION,
  conversation_id,
  ...more,
});
const first = "event: message.delta";

export const asks = {
  turn: { method: "POST", path: "/api/chat/send", body: send({}), expected: '"turn_id":"' },
  stream: {
    method: "POST",
    path: "/api/chat/send",
    body: send({ stream: true }),
    expected: "event: turn.completed",
    first,
  },
  create: { method: "POST", path: "/chats", body: () => ({ title: "A boat" }), expected: '"id":"' },
  list: { method: "GET", path: `/chats?limit=20&user_id=${LISTED.user}`, expected: '"total":10001' },
  last: { method: "GET", path: `/chats/${LISTED.long}/messages?limit=50&user_id=${LISTED.user}`, expected: "#10000 " },
  session: { method: "GET", path: "/api/v1/sessions/{id}", expected: '"messages":[' },
  /** The provider itself, asked as Parley asks it. */
  provider: {
    method: "POST",
    path: "/chat/completions",
    body: () => ({ model: MODEL, messages: [{ role: "user", content: QUESTION }], stream: true }),
    expected: "[DONE]",
    first: "data: ",
  },
} as const satisfies Record<string, Ask>;

export type AskName = keyof typeof asks;
