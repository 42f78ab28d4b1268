import { z } from "zod";
import type { NewExtension } from "../core/posting.ts";
import { isStorable } from "../http/schemas.ts";
import { CHANNEL_TYPE } from "./channels.ts";
import { hashOf } from "./parts.ts";

/** What is read of an event of Stream's, and no more is stored: https://getstream.io/chat/docs/node/webhook_events/ */

const id = z.string().min(1).max(255).refine(isStorable);
const time = z.string().refine((text) => !Number.isNaN(Date.parse(text)));
const text = z.string().transform((text) => text.replaceAll("\0", "").toWellFormed()); // as both databases hold it

const user = z.object({ id, role: z.string().catch("user") });
export type EventUser = z.output<typeof user>;

const attachment = z.object({
  asset_url: z.string().nullish().catch(null),
  image_url: z.string().nullish().catch(null),
  /** Of a preview that Stream has made of a link in the text. */
  og_scrape_url: z.string().nullish().catch(null),
  title: text.nullish().catch(null),
  fallback: text.nullish().catch(null),
  mime_type: z.string().nullish().catch(null),
  file_size: z.number().nullish().catch(null),
});

const message = z.object({
  id,
  text: z.string().nullish(),
  type: z.string().catch("regular"),
  user,
  created_at: time,
  updated_at: time,
  deleted_at: time.nullish(),
  attachments: z.array(attachment).nullish().catch(null),
  latest_reactions: z
    .array(z.object({ type: z.string(), user_id: z.string() }))
    .nullish()
    .catch(null),
  /** On whatever this service writes there; anybody may write the same. */
  parley: z
    .object({ hash: z.string(), parts: z.number().catch(1), rev: z.number().catch(-1) })
    .nullish()
    .catch(null),
});
export type EventMessage = z.output<typeof message>;

const place = {
  channel_type: z.literal(CHANNEL_TYPE),
  channel_id: id,
  created_at: time,
  members: z
    .array(z.object({ user: user.nullish() }))
    .nullish()
    .catch(null),
  message,
};
const ofMessage = z.object({ type: z.enum(["message.new", "message.updated", "message.deleted"]), ...place });
const ofReaction = z.object({
  type: z.enum(["reaction.new", "reaction.updated", "reaction.deleted"]),
  ...place,
  reaction: z.object({
    type: text.pipe(z.string().min(1).max(64)),
    user_id: id,
    created_at: time,
    parley: z.unknown().optional().transform(Boolean),
  }),
});

/** What is taken over from Stream; parsed again it is the same. */
export const streamEvent = z.discriminatedUnion("type", [ofMessage, ofReaction]);
export type StreamEvent = z.output<typeof streamEvent>;
export type MessageEvent = z.output<typeof ofMessage>;
export type ReactionEvent = z.output<typeof ofReaction>;

const head = z.object({ type: z.string(), channel_type: z.string().nullish() });
const KINDS: readonly string[] = [...ofMessage.shape.type.options, ...ofReaction.shape.type.options];

/** Events of other kinds, or of channels of other types, are nothing to us. */
export type ReadEvent = { kind: "event"; event: StreamEvent } | { kind: "other" } | { kind: "malformed" };

export function readEvent(json: unknown): ReadEvent {
  const { data } = head.safeParse(json);
  if (!data) return { kind: "malformed" };
  if (!KINDS.includes(data.type) || (data.channel_type ?? CHANNEL_TYPE) !== CHANNEL_TYPE) return { kind: "other" };
  const parsed = streamEvent.safeParse(json);
  return parsed.success ? { kind: "event", event: parsed.data } : { kind: "malformed" };
}

/** In milliseconds. */
export const timeIn = (text: string): number => Date.parse(text);

/** What people say themselves; the rest is Stream's own, or was refused there. */
export const isSaid = ({ type }: EventMessage): boolean => type === "regular" || type === "reply";

export const isGone = ({ type, message }: MessageEvent): boolean =>
  type === "message.deleted" || message.type === "deleted" || typeof message.deleted_at === "string";

/** The text of a message; of one that has attachments alone their names, so that it says something. */
export function contentOf(message: EventMessage): string {
  const said = text.parse(message.text ?? "");
  if (said.trim() !== "") return said;
  return attachmentsOf(message)
    .map(({ data }) => `[${data["name"] ?? data["mime_type"] ?? "attachment"}]`)
    .join("\n");
}

const MOST_ATTACHMENTS = 20;
const url = z.url({ protocol: /^https?$/ }).max(2048);
const mimeType = z
  .string()
  .regex(/^[\w.+-]+\/[\w.+-]+$/)
  .max(127);

/** As a surface takes them. One without an address is left out, and what is said of one that it could not be. */
export function attachmentsOf({ attachments }: EventMessage): NewExtension[] {
  return (attachments ?? [])
    .flatMap((one): NewExtension[] => {
      const address = url.safeParse(one.asset_url ?? one.image_url);
      if (!address.success || typeof one.og_scrape_url === "string") return [];
      const name = (one.title ?? one.fallback ?? "").trim().slice(0, 255).toWellFormed();
      const mime = mimeType.safeParse(one.mime_type);
      const size = z.int().min(0).safeParse(one.file_size);
      const data = {
        url: address.data,
        ...(name !== "" && { name }),
        ...(mime.success && { mime_type: mime.data }),
        ...(size.success && { size: size.data }),
      };
      return [{ type: "attachment", data }];
    })
    .slice(0, MOST_ATTACHMENTS);
}

/** The message says what we wrote: whatever it was, it is no edit of somebody's. */
export const isEcho = ({ text, parley }: EventMessage): boolean => parley?.hash === hashOf(text ?? "");

/** A message that is heard of so long after it was said, in milliseconds, is heard of by an edit. */
const OLD_MS = 300_000;

/** Somebody may be waiting for an answer. */
export const isFresh = ({ created_at, updated_at }: EventMessage): boolean =>
  timeIn(updated_at) - timeIn(created_at) < OLD_MS;
