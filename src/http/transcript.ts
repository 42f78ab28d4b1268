import type { z } from "@hono/zod-openapi";
import type { Pieces } from "./parts.ts";
import type { SessionMessage, SessionState } from "./sessions.ts";

type Message = z.infer<typeof SessionMessage>;

type Read<T> = { parts: AsyncIterable<readonly T[]>; toJson(row: T): Message };

/** A session for people to read, piece by piece. What was said is quoted or indented, so that nobody's words look like another's heading. */
export async function* transcriptOf<T>(
  session: z.infer<typeof SessionState>,
  { parts, toJson }: Read<T>,
  format: "text" | "markdown",
): Pieces<string> {
  yield headOf(session, format);
  for await (const rows of parts) {
    const said = rows.map(toJson).filter(({ content }) => content !== "");
    yield said.map((one) => `\n${format === "text" ? asText(one) : asMarkdown(one)}\n`).join("");
  }
}

function headOf(session: z.infer<typeof SessionState>, format: "text" | "markdown"): string {
  const title = session.title ?? "Untitled";
  const times = [`made ${session.created_at}`, ...(session.ended_at === null ? [] : [`ended ${session.ended_at}`])];
  const facts = [`Session ${session.id}`, `user ${session.user_id}`, session.status, ...times].join(" · ");
  const head = format === "text" ? [title, facts].map(oneLine) : [`# ${plain(title)}`, `_${plain(facts)}_`];
  return `${head.join("\n\n")}\n`;
}

const nameOf = ({ sender_type, sender_id }: Message) =>
  sender_id === sender_type ? sender_type : `${sender_type} ${sender_id}`;

/** What was said; of a move also why it was made. */
function contentOf({ content, sender_type, metadata: { reason } }: Message): string {
  return sender_type === "system" && typeof reason === "string" ? `${content}\nReason: ${reason}` : content;
}

const asText = (message: Message): string =>
  `[${message.created_at}] ${oneLine(nameOf(message))}:\n${contentOf(message).replace(/^/gm, "    ")}`;

const asMarkdown = (message: Message): string =>
  `**${plain(nameOf(message))}** · ${message.created_at}\n\n${contentOf(message).replace(/^/gm, "> ")}`;

const oneLine = (text: string) => text.replace(/\s+/g, " ");
const plain = (text: string) => oneLine(text).replace(/[\\`*_[\]<>#]/g, "\\$&");
