import type { Ended } from "./live.ts";
import { isHighSurrogate } from "./text.ts";

/** How far an answer has come: one growing text. `n` counts how often it began anew. */
export type Standing = {
  n: number;
  text: string;
  /** Why it began anew, the last time. */
  reason: string | null;
  /** What it waits for before its first text. */
  status: "queued" | "starting" | null;
  /** How it ended; nothing changes after that. */
  ended: Ended | null;
};

/** The standing of a turn that runs here, and the way to hear of its next change. */
export type Progress = {
  readonly standing: Readonly<Standing>;
  /** What of it stands in the row. */
  saved: Place;
  change(to: Partial<Standing>): void;
  /** Resolves at the next change, for all who wait. */
  changed(): Promise<void>;
};

export function createProgress(status: Standing["status"]): Progress {
  const standing: Standing = { n: 0, text: "", reason: null, status, ended: null };
  let next: PromiseWithResolvers<void> | undefined;
  return {
    standing,
    saved: { n: 0, offset: 0 },
    change(to) {
      Object.assign(standing, to);
      next?.resolve();
      next = undefined;
    },
    changed() {
      next ??= Promise.withResolvers();
      return next.promise;
    },
  };
}

/** A place in an answer: so many UTF-16 units of its `n`th beginning. */
export type Place = { n: number; offset: number };

export type TurnEvent =
  | { type: "status"; status: "queued" | "starting" }
  | { type: "delta"; text: string; to: Place }
  | { type: "restart"; reason: string; to: Place }
  | { type: "ended"; n: number; ended: Ended };

/** What a reader has been told. */
export type Told = Place & { status: Standing["status"] };

/**
 * What a reader is still to be told, and what it knows then. One that is ahead of a text that still grows, since it heard
 * it from another process, waits until the text has come so far.
 */
export function eventsSince(told: Told, standing: Standing): { events: TurnEvent[]; told: Told } {
  const { n, text, status, ended } = standing;
  const events: TurnEvent[] = [];
  if (told.n === n && told.offset > text.length && !ended) return { events, told };
  let from = told.offset;
  if (told.n !== n || from > text.length) {
    from = 0;
    events.push({ type: "restart", reason: standing.reason ?? LOST, to: { n, offset: 0 } });
  }
  if (status && status !== told.status && !ended) events.push({ type: "status", status });
  const to = { n, offset: endOfDelta(text, from) };
  if (from < to.offset) events.push({ type: "delta", text: text.slice(from, to.offset), to });
  if (ended && to.offset === text.length) events.push({ type: "ended", n, ended });
  return { events, told: { ...to, status } };
}

/** The same piece by piece, until nothing is left of a long text: none where there is nothing to be told. */
export function* piecesSince(told: Told, standing: Readonly<Standing>): Generator<{ events: TurnEvent[]; told: Told }> {
  for (let news = eventsSince(told, standing); news.events.length > 0; news = eventsSince(news.told, standing)) {
    yield news;
    if (news.told.offset >= standing.text.length) return;
  }
}

/** A delta's text, at most, in UTF-16 units: so much is held for a reader that does not read. */
const DELTA_MOST = 65_536;

// Never inside a surrogate pair.
function endOfDelta(text: string, from: number): number {
  if (text.length - from <= DELTA_MOST) return text.length;
  const end = from + DELTA_MOST;
  return isHighSurrogate(text.charCodeAt(end - 1)) ? end - 1 : end;
}

const LOST = "interrupted";
