import { createHash } from "node:crypto";
import { isHighSurrogate } from "../core/text.ts";
import type { Post } from "../core/thread.ts";
import type { Metadata } from "../db/tables.ts";

/** A message of a session as messages of Stream's: one, or several where its text is longer than a channel takes. */

/** What is noted on each message there: by it our own writes are known when they come back. */
export type Mark = {
  /** The revision that it shows. */
  rev: number;
  /** Of its text, see `hashOf`. */
  hash: string;
  /** Which of how many it is, from 1. */
  part: number;
  parts: number;
};

export type Part = { id: string; text: string; fields: { parley: Mark; [custom: string]: unknown } };

/** The first 16 hexadecimal digits of a text's SHA-256. */
export const hashOf = (text: string): string => createHash("sha256").update(text).digest("hex").slice(0, 16);

/** A further part's id, from 2: by the message's id here, so that nobody's choice of an id at Stream leads to another's message. */
export const partId = (messageId: string, part: number): string => `${messageId}-${part}`;

/** The message of which something with this id at Stream may be a further part; null where it is none. */
export const partOf = (streamId: string): string | null =>
  /^([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})-(?:[2-9]|[1-9]\d{1,3})$/.exec(streamId)?.[1] ?? null;

/** What a message says and said before. */
export const textsOf = ({ content, extensions }: Post): string[] => [
  content,
  ...extensions.flatMap(({ type, data }) => (type === "edit_history" ? [String(data["content"])] : [])),
];

/** As many parts as a message can have had, whatever a channel took. */
export const mostParts = (post: Post): number =>
  Math.ceil(Math.max(...textsOf(post).map(({ length }) => length)) / (SHORTEST_LIMIT * (1 - TAIL)));

/** What is shown of a message that stands and is `id` at Stream: one part at least, none longer than `limit`. */
export function partsOf(post: Post, { id, limit }: { id: string; limit: number }): Part[] {
  const texts = split(post.status === "in_progress" ? "" : post.content, limit);
  return texts.map((text, i) => {
    const parley = { rev: post.rev, hash: hashOf(text), part: i + 1, parts: texts.length };
    return {
      id: i === 0 ? id : partId(post.id, i + 1),
      text,
      fields: { ...fieldsOf(post), ...(i === 0 && hangingOn(post)), parley },
    };
  });
}

/** As Stream's components for answers of a model look for it: https://getstream.io/chat/docs/node/ai-message-streaming/. */
function fieldsOf({ role, status }: Post) {
  return role === "assistant" ? { ai_generated: true, generating: status === "in_progress", status } : {};
}

const hangingOn = ({ extensions }: Post) => ({
  attachments: extensions.filter(({ type }) => type === "attachment").map(({ data }) => attachmentOf(data)),
});

function attachmentOf({ url, name, mime_type, size }: Metadata) {
  const isImage = typeof mime_type === "string" && mime_type.startsWith("image/");
  const at = isImage ? { type: "image", image_url: url } : { type: "file", asset_url: url };
  return { ...at, title: name, mime_type, file_size: size };
}

/** A channel that takes no more than this, in characters, is not to be served. */
export const SHORTEST_LIMIT = 100;

/** A part ends at the end of a line, or of a word, where there is one in its last fifth. */
const TAIL = 0.2;

/** Pieces that are the text when put together, none longer than `limit` UTF-16 units; an empty text is one piece. */
export function split(text: string, limit: number): string[] {
  const pieces: string[] = [];
  for (let rest = text; rest !== "" || pieces.length === 0; ) {
    const end = rest.length <= limit ? rest.length : endOfPiece(rest, limit);
    pieces.push(rest.slice(0, end));
    rest = rest.slice(end);
  }
  return pieces;
}

function endOfPiece(text: string, limit: number): number {
  const earliest = limit * (1 - TAIL);
  for (const mark of ["\n", " "]) {
    const end = text.lastIndexOf(mark, limit - 1) + 1;
    if (end > earliest) return end;
  }
  return isHighSurrogate(text.charCodeAt(limit - 1)) ? Math.max(1, limit - 1) : limit;
}
