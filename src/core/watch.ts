import { inArray } from "drizzle-orm";
import type { Db } from "../db/db.ts";
import type { Conversation } from "../db/tables.ts";
import { type Feed, type FeedDeps, startFeed, type Told, type Watched } from "./feed.ts";

/** Sessions that somebody watches in this process: each is read once, however many watch. */

export type Watch = {
  /** Tells of a session's changes from its present revision on, until `leave` is called. */
  join(conversation: Pick<Conversation, "id" | "rev">, hear: (told: Told) => void): { at: Watched; leave(): void };
  stop(): void;
};

/** Notes may be lost: so often, in milliseconds, the watched sessions' revisions are looked at all the same. */
const POLL_MS = 700;
/** Sessions that are looked at in one query: a database takes only so many values. */
const LOOKED_AT = 1_000;

/** Starts to look after the sessions that are watched here. */
export function createWatch(deps: FeedDeps): Watch {
  const watched = new Map<string, Feed>();
  const unlisten = deps.bus.listen((note) => watched.get(note.conversationId)?.hear(note));
  let looking = false;
  const look = () => {
    if (looking) return;
    looking = true;
    lookAt(deps.db, [...watched.values()])
      .catch((error) => deps.log.error({ err: error }, "watched sessions could not be looked at"))
      .finally(() => (looking = false));
  };
  const timer = setInterval(look, POLL_MS).unref();
  return {
    join({ id, rev }, tell) {
      const feed = watched.get(id) ?? startFeed(deps, { conversationId: id, rev, running: null, listeners: new Set() });
      watched.set(id, feed);
      feed.at.listeners.add(tell);
      const leave = () => {
        feed.at.listeners.delete(tell);
        if (feed.at.listeners.size > 0 || watched.get(id) !== feed) return;
        watched.delete(id);
        feed.stop();
      };
      return { at: feed.at, leave };
    },
    stop() {
      clearInterval(timer);
      unlisten();
      for (const feed of watched.values()) feed.stop();
      watched.clear();
    },
  };
}

/** Wakes those that have changed, or are gone, though no note came. */
async function lookAt(db: Db, feeds: readonly Feed[]): Promise<void> {
  const c = db.tables.conversations;
  for (let i = 0; i < feeds.length; i += LOOKED_AT) {
    const some = feeds.slice(i, i + LOOKED_AT);
    const ids = some.map((feed) => feed.at.conversationId);
    const rows = await db.select({ id: c.id, rev: c.rev, openTurns: c.openTurns }).from(c).where(inArray(c.id, ids));
    const found = new Map(rows.map((row) => [row.id, row]));
    for (const feed of some) {
      const row = found.get(feed.at.conversationId);
      if (row?.rev !== feed.at.rev || (row.openTurns > 0 && !feed.at.running)) feed.wake();
    }
  }
}
