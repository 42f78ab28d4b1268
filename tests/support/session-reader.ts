import type { Service } from "./service.ts";
import type { Frame } from "./stream-frames.ts";
import { type Reading, readStream } from "./stream-reader.ts";

// biome-ignore lint/suspicious/noExplicitAny: a test reads whatever JSON came
type Json = any;

/** What a client over the wire holds of a session, from its events. */
export type SessionReader = {
  reading: Reading;
  lastId: number;
  session: Json;
  messages: Map<string, Json>;
  drafts: Map<string, { n: number; text: string }>;
  typing: Json[];
  /** What the contract forbids and happened all the same. */
  wrongs: string[];
  /** Messages with their present text, deleted and superseded ones left out, in the order of the thread. */
  shown(): Json[];
};

/** Reads the events of a session over a connection of its own. */
export async function readSession({ url }: Pick<Service, "url">, id: string, after = 0): Promise<SessionReader> {
  const reader: Omit<SessionReader, "reading"> = {
    lastId: after,
    session: undefined,
    messages: new Map(),
    drafts: new Map(),
    typing: [],
    wrongs: [],
    shown: () =>
      [...reader.messages.values()]
        .filter((message) => !message.is_deleted && !message.is_superseded)
        .sort((one, other) => one.seq - other.seq),
  };
  const path = `/api/v1/sessions/${id}/events?after=${after}`;
  const reading = await readStream(url, { path, onFrame: (frame) => hear(reader, frame) });
  return Object.assign(reader, { reading });
}

type Hearing = Omit<SessionReader, "reading">;

function hear(reader: Hearing, frame: Frame): void {
  const { event, id, data } = frame;
  if (event === "typing") reader.typing.push(data);
  else if (event === "message.delta") hearDelta(reader, data);
  else hearRow(reader, frame);
  if (event === "session") reader.session = data;
  const isRow = event === "session" || event === "message";
  if (!isRow && id !== undefined) reader.wrongs.push(`an id on ${event}`);
  if (id !== undefined) reader.lastId = Number(id);
}

function hearRow({ lastId, wrongs, messages, drafts }: Hearing, { event, data }: Frame): void {
  if (data.rev <= lastId) wrongs.push(`${event} of ${data.rev} after ${lastId}`);
  if (event === "message") messages.set(data.id, data);
  if (event === "message" && data.status !== "in_progress") drafts.delete(data.id);
}

function hearDelta({ wrongs, messages, drafts }: Hearing, { message_id, n, offset, text }: Json): void {
  const draft = drafts.get(message_id);
  if (messages.get(message_id)?.status !== "in_progress") wrongs.push("a piece of what is no growing message");
  const before = draft && draft.n === n && draft.text.length === offset ? draft.text : "";
  if (before.length !== offset) wrongs.push("a gap in an answer");
  drafts.set(message_id, { n, text: before + text });
}
