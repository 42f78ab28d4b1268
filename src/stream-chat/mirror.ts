import { EVERYBODY } from "../core/changes.ts";
import { postsToShow } from "../core/thread-parts.ts";
import type { Db } from "../db/db.ts";
import type { Conversation } from "../db/tables.ts";
import { type Outcome, type Outlet, STOPPED, type Way } from "../outbox/deliver.ts";
import { STREAM, type Untold } from "../outbox/ledger.ts";
import { PACE, type Pace } from "../outbox/pace.ts";
import { deleteChannel } from "./channels.ts";
import type { StreamChat } from "./client.ts";
import { StreamChatError, unlessMissing } from "./failures.ts";
import { channelIdOf, streamIdsOf } from "./ids.ts";
import { createKnown } from "./known.ts";
import { type Mirrored, openMirrored, showSession } from "./mirrored-channel.ts";
import { type MessageDeps, showMessage } from "./mirrored-message.ts";
import { SHORTEST_LIMIT } from "./parts.ts";

/** Conversations as channels: what has changed since the cursor is shown as it stands now. */

export type MirrorDeps = MessageDeps & {
  /** Not one that announces. */
  readonly db: Db;
};

/** Who chats waits less long than a webhook, also for what a process that died had claimed. */
export const STREAM_PACE: Pace = {
  ...PACE,
  timeoutMs: 5_000,
  leaseMs: 10_000,
  lastRetryMs: 60_000,
  lastPauseMs: 10_000,
};

/** Channels that are remembered. */
const MOST_CHANNELS = 10_000;

const LATE = new Error("the claim was lost");

export function streamOutlet(deps: MirrorDeps, pace: Pace = STREAM_PACE): Outlet {
  const channels = createKnown<Mirrored>(MOST_CHANNELS);

  async function tell(untold: Untold, { stop, holds }: Way): Promise<Outcome> {
    const { session, tombstone, after } = untold;
    const progress = { rev: after };
    const call: StreamChat["call"] = async (asked, shape) => {
      if (!(await holds())) throw LATE;
      return deps.stream.call(asked, shape);
    };
    const way = { ...deps, stream: { ...deps.stream, call }, signal: stop.signal };
    try {
      if (session) await show(way, { session, channels, progress });
      else await hide(way, tombstone.id);
      return { kind: "told", rev: session ? progress.rev : tombstone.rev };
    } catch (error) {
      if (stop.signal.reason === STOPPED) return { ...progress, kind: "stopped" };
      if (error === LATE) return { ...progress, kind: "failed", reason: "late", retryAfterMs: null };
      if (!(error instanceof StreamChatError)) throw error;
      const { kind: reason, retryAfterMs } = error;
      if (session) heed(reason, session.id);
      return { ...progress, kind: "failed", reason, retryAfterMs };
    }
  }
  function heed(reason: StreamChatError["kind"], id: string): void {
    const channel = channels.get(id);
    if (reason === "too_long" && channel) channel.limit = Math.max(SHORTEST_LIMIT, Math.floor(channel.limit / 2));
    if (reason !== "not_found") return;
    channels.forget(id); // it was deleted there, or somebody in it was
    deps.people.clear();
  }
  return { ledger: STREAM, pace, tell };
}

type Ways = MirrorDeps & { signal: AbortSignal };
type Shown = {
  session: Conversation;
  channels: ReturnType<typeof createKnown<Mirrored>>;
  /** The revision up to which all is shown. */
  progress: { rev: number };
};

async function show(deps: Ways, { session, channels, progress }: Shown): Promise<void> {
  const { db, signal } = deps;
  if (deps.which === "sessions" && !session.isLive) {
    progress.rev = session.rev; // once people are in it, it is shown from its beginning
    return;
  }
  const after = progress.rev;
  const channel = await channelFor(deps, { session, channels, progress });
  if (!channel.isWhole) {
    if (after >= 0) {
      progress.rev = -1; // from the beginning, which is noted before the channel says that it has begun
      return;
    }
    channel.isWhole = true;
    await showSession(deps, { ...session, status: "active" }, { channel, signal });
  }
  const of = { conversation_id: session.id };
  const due = await postsToShow(db, EVERYBODY, { conversationId: session.id, after });
  const ids = due.map(({ post }) => post.id);
  const origins = await streamIdsOf(db, ids);
  for (const { post, upTo } of due) {
    const how = { channel, session, origin: origins.get(post.id), isNew: post.seq > after, signal };
    await orLeaveOut(deps, showMessage(deps, post, how), { ...of, message_id: post.id });
    progress.rev = Math.max(after, upTo ?? after);
  }
  if (due.at(-1)?.upTo != null) return; // there is more
  await orLeaveOut(deps, showSession(deps, session, { channel, signal }), of);
  progress.rev = session.rev;
}

/** The channel of a session, as it is remembered, or read again where others have shown more of it since. */
async function channelFor(deps: Ways, { session, channels, progress }: Shown): Promise<Mirrored> {
  const known = channels.get(session.id);
  if (known?.progress.rev === progress.rev) return channels.put(session.id, Object.assign(known, { progress }));
  const { db, signal } = deps;
  const how = { id: await channelIdOf(db, session.id), isNew: progress.rev < 0, signal };
  const opened = await openMirrored(deps, session, how);
  const limit = Math.min(opened.limit, known?.limit ?? opened.limit);
  return channels.put(session.id, { ...opened, limit, progress });
}

const FOR_GOOD: readonly StreamChatError["kind"][] = ["refused", "too_big", "not_kept"];

/** What Stream refuses for good holds up nothing else. */
async function orLeaveOut({ log }: Ways, shown: Promise<void>, of: object): Promise<void> {
  await shown.catch((error) => {
    if (!(error instanceof StreamChatError) || !FOR_GOOD.includes(error.kind)) throw error;
    log.error(
      { ...of, kind: error.kind, status: error.status, code: error.code },
      "Stream Chat refuses this; it is left out",
    );
  });
}

async function hide(deps: Ways, id: string): Promise<void> {
  await unlessMissing(deleteChannel(deps.stream, await channelIdOf(deps.db, id), { signal: deps.signal }));
}
