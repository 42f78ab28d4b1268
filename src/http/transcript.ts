import type { z } from "@hono/zod-openapi";
import type { SessionMessage, SessionState } from "./sessions.ts";

type Whole = { session: z.infer<typeof SessionState>; messages: readonly z.infer<typeof SessionMessage>[] };

/** A session for people to read. Markdown quotes what was said, so that nobody's words look like another's heading. */
export function transcriptOf({ session, messages }: Whole, format: "text" | "markdown"): string {
  const title = session.title ?? "Untitled";
  const facts = [`Session ${session.id}`, `user ${session.user_id}`, `${session.status}, ${session.created_at}`];
  const head = format === "text" ? [title, facts.join(" · ")] : [`# ${oneLine(title)}`, `_${facts.join(" · ")}_`];
  const said = messages.filter(({ content }) => content !== "");
  return `${[...head, ...said.map(format === "text" ? asText : asMarkdown)].join("\n\n")}\n`;
}

const nameOf = ({ sender_type, sender_id }: z.infer<typeof SessionMessage>) =>
  sender_id === sender_type ? sender_type : `${sender_type} ${sender_id}`;

const asText = (message: z.infer<typeof SessionMessage>): string =>
  `[${message.created_at}] ${nameOf(message)}:\n${message.content}`;

const asMarkdown = (message: z.infer<typeof SessionMessage>): string =>
  `**${oneLine(nameOf(message))}** · ${message.created_at}\n\n${message.content.replace(/^/gm, "> ")}`;

const oneLine = (text: string) => text.replace(/\s+/g, " ").replace(/[\\`*_[\]<>#]/g, "\\$&");
