import type { Told } from "./feed.ts";
import type { Post } from "./thread.ts";

/** What waits for a reader of a session. One who falls behind is read anew what it has missed. */
export type Inbox = {
  put(told: Told): void;
  wake(): void;
  isBehind(): boolean;
  /** The session is gone. */
  isOver(): boolean;
  /** What waits is missed, and nothing is kept any more. */
  fallBehind(): void;
  /** Whatever comes from now on is kept again. */
  catchUp(): void;
  /** What comes next, as much as is told at once; the rest still waits. */
  take(): Told[];
  /** Resolves once something has come since the last time that it was emptied. */
  filled(): Promise<void>;
};

/** What may wait: so many events, and so much text in them, in UTF-16 units. */
export const MOST_WAITING = 500;
export const MOST_TEXT = 262_144;
/** What is told at once ends with the event that fills it up. */
export const TOLD_TEXT = 65_536;

/** A reader begins behind: with what has changed before it came. */
export function createInbox(): Inbox {
  let waiting: Told[] = [];
  let text = 0;
  let behind = true;
  let over = false;
  let next = Promise.withResolvers<void>();

  function empty(): Told[] {
    const taken = waiting;
    waiting = [];
    text = 0;
    return taken;
  }
  const fallBehind = () => {
    behind = true;
    empty();
  };
  return {
    put(told) {
      if (told.type === "gone") over = true;
      else if (!behind) {
        const joined = withLast(waiting.at(-1), told);
        if (joined) waiting[waiting.length - 1] = joined;
        else waiting.push(told);
        text += sizeOf(told);
        if (waiting.length > MOST_WAITING || text > MOST_TEXT) fallBehind();
      }
      next.resolve();
    },
    wake: () => next.resolve(),
    isBehind: () => behind,
    isOver: () => over,
    fallBehind,
    catchUp() {
      behind = false;
      empty();
    },
    take() {
      const taken = fill(waiting);
      if (taken.length === waiting.length) {
        next = Promise.withResolvers();
        return empty();
      }
      waiting = waiting.slice(taken.length);
      text -= textOf(taken);
      return taken;
    },
    filled: () => (behind ? Promise.resolve() : next.promise),
  };
}

/** What was said of an answer since the reader last looked is one piece to it. */
function withLast(last: Told | undefined, told: Told): Told | undefined {
  if (last?.type !== "delta" || told.type !== "delta") return undefined;
  if (last.messageId !== told.messageId || last.n !== told.n) return undefined;
  return { ...last, text: last.text + told.text };
}

const textOf = (all: readonly Told[]) => all.reduce((sum, told) => sum + sizeOf(told), 0);

/** The first of what waits, one at least. */
function fill(waiting: readonly Told[]): Told[] {
  let size = 0;
  const end = waiting.findIndex((told) => {
    size += sizeOf(told);
    return size >= TOLD_TEXT;
  });
  return end === -1 ? [...waiting] : waiting.slice(0, end + 1);
}

/** What has been measured once: many readers are told the same. */
const sizes = new WeakMap<Told, number>();

/** About how much text there is in it, in UTF-16 units. */
export function sizeOf(told: Told): number {
  if (told.type === "delta") return told.text.length;
  if (told.type !== "revision") return 0;
  const size = sizes.get(told) ?? told.messages.reduce((sum, post) => sum + sizeOfPost(post), 0);
  sizes.set(told, size);
  return size;
}

function sizeOfPost({ content, metadata, extensions }: Post): number {
  const hanging = extensions.reduce((sum, { data }) => sum + JSON.stringify(data).length, 0);
  return content.length + (metadata ? JSON.stringify(metadata).length : 0) + hanging;
}
