/** What a request is about, made anew for each operation: rows of one owner. */
export type Rows = { conversation: string; turn: string; answer: string };

export type Operation = {
  /**
   * `public` answers everybody; `service` wants a token, and shows nobody's rows; `makes` a row of the caller's own;
   * `lists` what is the caller's; `reaches` for rows by their ids.
   */
  kind: "public" | "service" | "makes" | "lists" | "reaches";
  /** What makes a request valid, beside ids. */
  body?: Record<string, unknown>;
  /** What stands in the path and is no row's id. */
  path?: Record<string, string>;
  /** Which row an id is of, where its name means another than in `ID_NAMES`. */
  ids?: Record<string, keyof Rows>;
  /** Its turn must still run. */
  running?: true;
  /** An agent is `served` what it would be of a live conversation; left out, it is a stranger as any other user. */
  agent?: "served";
};

/** Which row an id is of, by its name in a path or a body. */
export const ID_NAMES: Readonly<Record<string, keyof Rows>> = {
  chat_id: "conversation",
  conversation_id: "conversation",
  id: "conversation",
  turn_id: "turn",
  message_id: "answer",
};

const message = "What is mine stays mine.";

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

  generateResponse: { kind: "reaches", body: { message } },
  createCoachingChat: { kind: "makes" },
  sendCoachingMessage: { kind: "reaches", body: { content: message } },

  getTurn: { kind: "reaches" },
  streamTurn: { kind: "reaches" },
  cancelTurn: { kind: "reaches", running: true },
  regenerateAnswer: { kind: "reaches" },
  listAlternatives: { kind: "reaches" },
  getUsage: { kind: "lists" },

  getRoot: { kind: "public" },
  getHealth: { kind: "public" },
  getApiHealth: { kind: "public" },
  getLiveness: { kind: "public" },
  getReadiness: { kind: "public" },
  listModels: { kind: "service" },
  listRoutes: { kind: "service" },
  getOpenApi: { kind: "public" },
  getDocs: { kind: "public" },
  getRedoc: { kind: "public" },
  getDocsFile: { kind: "public", path: { file: "swagger-ui.css" } },
};
