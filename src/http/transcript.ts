import type { z } from "@hono/zod-openapi";
import type { SessionMessage, SessionState } from "./sessions.ts";

type Whole = { session: z.infer<typeof SessionState>; messages: readonly z.infer<typeof SessionMessage>[] };

/** A session for people to read. What was said is quoted or indented, so that nobody's words look like another's heading. */
export function transcriptOf({ session, messages }: Whole, format: "text" | "markdown"): string {
  const title = session.title ?? "Untitled";
  const times = [`made ${session.created_at}`, ...(session.ended_at === null ? [] : [`ended ${session.ended_at}`])];
  const facts = [`Session ${session.id}`, `user ${session.user_id}`, session.status, ...times].join(" · ");
  const head = format === "text" ? [title, facts].map(oneLine) : [`# ${plain(title)}`, `_${plain(facts)}_`];
  const said = messages.filter(({ content }) => content !== "");
  return `${[...head, ...said.map(format === "text" ? asText : asMarkdown)].join("\n\n")}\n`;
}

const nameOf = ({ sender_type, sender_id }: z.infer<typeof SessionMessage>) =>
  sender_id === sender_type ? sender_type : `${sender_type} ${sender_id}`;

/** What was said; of a move also why it was made. */
function contentOf({ content, sender_type, metadata: { reason } }: z.infer<typeof SessionMessage>): string {
  return sender_type === "system" && typeof reason === "string" ? `${content}\nReason: ${reason}` : content;
}

const asText = (message: z.infer<typeof SessionMessage>): string =>
  `[${message.created_at}] ${oneLine(nameOf(message))}:\n${contentOf(message).replace(/^/gm, "    ")}`;

const asMarkdown = (message: z.infer<typeof SessionMessage>): string =>
  `**${plain(nameOf(message))}** · ${message.created_at}\n\n${contentOf(message).replace(/^/gm, "> ")}`;

const oneLine = (text: string) => text.replace(/\s+/g, " ");
const plain = (text: string) => oneLine(text).replace(/[\\`*_[\]<>#]/g, "\\$&");
