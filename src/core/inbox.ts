import type { Told } from "./feed.ts";

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
  take(): Told[];
  /** Resolves once something has come since the last time that it was emptied. */
  filled(): Promise<void>;
};

/** What may wait: so many events, and so much text in them, in UTF-16 units. */
export const MOST_WAITING = 500;
export const MOST_TEXT = 262_144;

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
      next = Promise.withResolvers();
      return empty();
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

/** An extension may be as large as a short message. */
const EXTENSION = 4_096;

/** About how much text there is in it. */
export function sizeOf(told: Told): number {
  if (told.type === "delta") return told.text.length;
  if (told.type !== "revision") return 0;
  return told.messages.reduce(
    (sum, { content, extensions }) => sum + content.length + extensions.length * EXTENSION,
    0,
  );
}
