import type { Frame } from "./http-stream.ts";

/** What a request is about, made anew for each operation: rows of one owner. `message` is what the owner said. */
export type Rows = { conversation: string; turn: string; answer: string; message: string; extension: string };

export type Operation = {
  /**
   * `public` answers everybody; `service` wants a token, and shows nobody's rows; `makes` a row of the caller's own;
   * `lists` what is the caller's; `reaches` for rows by their ids; `calls` a row by an id that it makes one under where the
   * caller has none; `watches` over what is before agents; `operates` the
   * service, as an admin; `signed` is for who has a secret alone, whatever token comes along.
   */
  kind: "public" | "signed" | "service" | "makes" | "lists" | "reaches" | "calls" | "watches" | "operates";
  /** What makes a request valid, beside ids. */
  body?: Record<string, unknown>;
  /** What stands in the path and is no row's id. */
  path?: Record<string, string>;
  /** The field of the path or the body that holds the caller's own id. */
  self?: string;
  /** Which row an id is of, where its name means another than in `ID_NAMES`. */
  ids?: Record<string, keyof Rows>;
  /** Its turn must still run. */
  running?: true;
  /** Its session must wait for an agent. */
  waits?: true;
  /** It begins no turn, though its body says how turns begin. */
  quiet?: boolean;
  /** Its answer is a stream without an end, left once this has come. */
  until?: (frames: readonly Frame[]) => boolean;
  /** Its owner may not do it; agents may, where the conversation is live. */
  staff?: true;
  /** An agent may not do it even where it sees the rows, which are another's. */
  agent?: "forbidden";
};

/** The same operation is tried in several ways, each under a name that goes on after the `operationId`. */
export const operationIdOf = (name: string): string => name.replace(/,.*$/, "");

/** Which row an id is of, by its name in a path or a body. */
export const ID_NAMES: Readonly<Record<string, keyof Rows>> = {
  chat_id: "conversation",
  conversation_id: "conversation",
  session_id: "conversation",
  id: "conversation",
  turn_id: "turn",
  message_id: "answer",
};

const message = "What is mine stays mine.";

/** A session's reader has been told how it stands. */
const isUpToDate = (frames: readonly Frame[]): boolean => {
  const session = frames.find(({ event }) => event === "session");
  return frames.some(({ id }) => id !== undefined && id === String(session?.data.rev));
};

const own = { message_id: "message" } as const;
const speaks = { body: { content: message, sender_type: "user", reply: true }, self: "sender_id" } as const;

/** Every operation of the OpenAPI document, by its `operationId`. What is tried with it follows from the document. */
export const operations: Readonly<Record<string, Operation>> = {
  createChat: { kind: "makes", body: { title: "Mine" } },
  listChats: { kind: "lists" },
  getChat: { kind: "reaches" },
  listChatMessages: { kind: "reaches" },
  renameChat: { kind: "reaches", body: { title: "Renamed" } },
  deleteChat: { kind: "reaches" },
  sendChatMessage: { kind: "reaches", body: { message } },

  createConversation: { kind: "makes" },
  askMessage: { kind: "reaches", body: { content: message } },
  listConversations: { kind: "lists" },
  getConversation: { kind: "reaches" },

  sendMessage: { kind: "reaches", body: { message } },
  listSendConversations: { kind: "lists" },
  getSendConversation: { kind: "reaches" },

  generateResponse: { kind: "calls", body: { message } },
  createCoachingChat: { kind: "makes" },
  getCoachingChat: { kind: "reaches" },
  sendCoachingMessage: { kind: "reaches", body: { content: message } },

  getTurn: { kind: "reaches" },
  streamTurn: { kind: "reaches" },
  cancelTurn: { kind: "reaches", running: true },
  regenerateAnswer: { kind: "reaches" },
  listAlternatives: { kind: "reaches" },
  getUsage: { kind: "lists" },

  createSession: { kind: "reaches", ids: { previous_session_id: "conversation" } },
  getSession: { kind: "reaches" },
  listUserSessions: { kind: "lists" },
  changeSession: { kind: "reaches", body: { metadata: { mood: "calm" } } },
  "changeSession, to an agent": { kind: "reaches", body: { agent_id: "agent-smith" }, staff: true },
  endSession: { kind: "reaches", body: { reason: "over" } },
  transferSession: { kind: "reaches", body: { to: "agent" } },
  "transferSession, to an agent": { kind: "reaches", body: { to: "agent", agent_id: "agent-smith" }, staff: true },
  "transferSession, back again": { kind: "reaches", body: { to: "assistant" }, waits: true, staff: true },
  acceptSession: { kind: "reaches", waits: true, staff: true },
  markSessionRead: { kind: "reaches", body: { seq: 1 } },
  postSessionMessage: { kind: "reaches", ...speaks },
  "postSessionMessage, without a reply": {
    kind: "reaches",
    ...speaks,
    body: { ...speaks.body, reply: false, extensions: [{ extension_type: "note", data: {} }] },
    quiet: true,
  },
  listSessionMessages: { kind: "reaches" },
  getMessage: { kind: "reaches", ids: own },
  editMessage: { kind: "reaches", ids: own, body: { content: "Edited." }, agent: "forbidden" },
  deleteMessage: { kind: "reaches", ids: own, agent: "forbidden" },
  addMessageExtension: { kind: "reaches", ids: own, body: { extension_type: "reaction", data: { emoji: "+1" } } },
  removeMessageExtension: { kind: "reaches", ids: { ...own, id: "extension" }, agent: "forbidden" },
  watchSession: { kind: "reaches", until: isUpToDate },
  tellTyping: { kind: "reaches", body: { typing: true }, self: "sender_id" },
  getTranscript: { kind: "reaches" },
  listQueue: { kind: "watches" },
  watchAgent: { kind: "watches", self: "agent_id", until: (frames) => frames.length > 0 },

  listUsers: { kind: "operates" },
  listAllConversations: { kind: "operates" },
  listConversationTurns: { kind: "reaches" },
  exportUser: { kind: "lists" },
  eraseUser: { kind: "lists" },

  receiveStreamWebhook: { kind: "signed", body: { type: "message.new" } },
  createStreamToken: { kind: "makes" },
  createStreamTokenAtRoot: { kind: "makes" },
  getStreamStatus: { kind: "operates" },

  getRoot: { kind: "public" },
  getHealth: { kind: "public" },
  getApiHealth: { kind: "public" },
  getLiveness: { kind: "public" },
  getReadiness: { kind: "public" },
  listModels: { kind: "service" },
  listRoutes: { kind: "service" },
  getMetrics: { kind: "operates" },
  getOpenApi: { kind: "public" },
  getDocs: { kind: "public" },
  getRedoc: { kind: "public" },
  getDocsFile: { kind: "public", path: { file: "swagger-ui.css" } },
};
