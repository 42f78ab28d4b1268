/** Stands for an id that the reader has to paste. */
export const PASTE_ID = "00000000-0000-0000-0000-000000000000";

const message = "My dog is called Rex. What can you do?";

/**
 * The least body with which each operation succeeds. The documentation pages send it as it stands, where without one they
 * would make up a body with every field that there is.
 */
export const EXAMPLES: Readonly<Record<string, object>> = {
  createChat: {},
  renameChat: { title: "Travel plans" },
  sendChatMessage: { chat_id: PASTE_ID, message },
  createConversation: {},
  askMessage: { content: message },
  sendMessage: { message },
  generateResponse: { message },
  createCoachingChat: {},
  sendCoachingMessage: { chat_id: PASTE_ID, content: message },
  regenerateAnswer: {},
  createSession: {},
  changeSession: { metadata: { topic: "billing" } },
  transferSession: { to: "agent" },
  acceptSession: {},
  endSession: {},
  markSessionRead: { seq: 1 },
  tellTyping: { sender_id: "alice", typing: true },
  postSessionMessage: { content: message, sender_type: "user", sender_id: "alice" },
  editMessage: { content: "My dog is called Max." },
  addMessageExtension: {
    extension_type: "attachment",
    data: { url: "https://example.com/dog.png", name: "dog.png", mime_type: "image/png" },
  },
  createStreamToken: {},
  createStreamTokenAtRoot: {},
  receiveStreamWebhook: { type: "message.new" },
};
