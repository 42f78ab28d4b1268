import type { News } from "../../src/core/events.ts";
import { getSession } from "../../src/core/sessions.ts";
import type { Post } from "../../src/core/thread.ts";
import type { Db } from "../../src/db/db.ts";
import type { Conversation } from "../../src/db/tables.ts";
import { as } from "./core-instance.ts";
import { listPosts } from "./core-pages.ts";

/** An answer in the making: what was said of its `n`th beginning. */
export type Draft = { n: number; text: string };

/** What somebody holds of a session who has heard its events up to a revision. */
export type View = {
  rev: number;
  session: Conversation | null;
  messages: Map<string, Post>;
  /** What was said of answers, at every piece. */
  drafts: Map<string, Draft>;
  said: { messageId: string; n: number; text: string }[];
  /** What the contract forbids and happened all the same. */
  wrongs: string[];
};

export const emptyView = (): View => ({
  rev: 0,
  session: null,
  messages: new Map(),
  drafts: new Map(),
  said: [],
  wrongs: [],
});

/** The same, to go on with apart from the first; of answers in the making only their rows are kept. */
export const copyOf = (view: View): View => ({
  ...view,
  messages: new Map(view.messages),
  drafts: new Map(),
  said: [],
});

/** Takes in what was told, as any client does, and notes what should not have been. */
export function hear(view: View, one: News[number]): void {
  if (one.type === "delta") hearDelta(view, one);
  if (one.type === "revision") hearRevision(view, one);
}

function hearRevision(view: View, one: Extract<News[number], { type: "revision" }>): void {
  if (one.rev <= view.rev) view.wrongs.push(`revision ${one.rev} after ${view.rev}`);
  view.rev = one.rev;
  if (one.session) view.session = one.session;
  if (one.session && one.session.rev !== one.rev) view.wrongs.push(`a session of ${one.session.rev} at ${one.rev}`);
  for (const message of one.messages) {
    if (message.rev !== one.rev) view.wrongs.push(`a message of ${message.rev} at ${one.rev}`);
    view.messages.set(message.id, message);
    if (message.status !== "in_progress") view.drafts.delete(message.id);
  }
}

type Delta = Extract<News[number], { type: "delta" }>;

function hearDelta(view: View, { messageId, n, offset, text }: Delta): void {
  const message = view.messages.get(messageId);
  if (!message) view.wrongs.push("a piece of a message that was not told");
  else if (message.status !== "in_progress") view.wrongs.push("a piece of a message that is whole");
  const draft = view.drafts.get(messageId);
  const goesOn = draft?.n === n && draft.text.length === offset;
  const begins = offset === 0 && (draft === undefined || n > draft.n);
  if (!goesOn && !begins) view.wrongs.push(`piece ${n}-${offset} after ${draft?.n}-${draft?.text.length}`);
  const whole = (draft?.n === n ? draft.text.slice(0, offset) : "") + text;
  view.drafts.set(messageId, { n, text: whole });
  view.said.push({ messageId, n, text: whole });
}

/** What a view shows: deleted and superseded messages are left out, in the order of the thread. */
export const shownBy = ({ rev, session, messages }: View) => ({
  rev,
  session,
  messages: [...messages.values()]
    .filter(({ deletedAt, supersededAt }) => deletedAt === null && supersededAt === null)
    .sort((one, other) => one.seq - other.seq),
});

/** What whoever asks afresh is shown. */
export async function shownAfresh(db: Db, id: string) {
  const actor = as("admin", "root");
  const { unread: _, ...session } = await getSession(db, actor, id);
  return { rev: session.rev, session, messages: await listPosts(db, actor, { conversationId: id, limit: 10_000 }) };
}
