import type { Live } from "../core/live.ts";
import type { Bus } from "../core/notes.ts";
import type { Db } from "../db/db.ts";
import { startOutbox } from "../outbox/outbox.ts";
import type { Pace } from "../outbox/pace.ts";
import { type Behind, errorOf, readBacklog } from "./backlog.ts";
import type { StreamChat } from "./client.ts";
import { startGrowth } from "./growth.ts";
import { createPeople } from "./known-people.ts";
import { STREAM_PACE, streamOutlet } from "./mirror.ts";
import type { CallKind, Left } from "./quota.ts";

type Log = Record<"error" | "warn" | "info", (fields: object, message: string) => void>;

export type StreamMirrorDeps = {
  /** Not one that announces: that something was shown is no change. */
  readonly db: Db;
  readonly bus: Bus;
  readonly live: Live;
  readonly stream: StreamChat;
  /** Conversations that are mirrored: all, or those that people are in. */
  readonly mirror: "all" | "sessions";
  readonly assistantId: string;
  readonly log: Log;
};

export type StreamStatus = {
  mirror: "all" | "sessions";
  waiting: number;
  behind: Behind[];
  quota: Partial<Record<CallKind, Left>>;
};

export type StreamMirror = {
  /** Of what waits so many conversations are named. */
  status(limit: number): Promise<StreamStatus>;
  /** What is not shown by then is shown after the next start; calls that are under way get so many milliseconds. */
  stop(ms: number): Promise<void>;
};

/** Shows every conversation at Stream as it changes, and answers as they grow. */
export async function startStreamMirror(deps: StreamMirrorDeps, pace: Pace = STREAM_PACE): Promise<StreamMirror> {
  const { db, bus, live, stream, mirror, assistantId, log } = deps;
  const growth = startGrowth({ stream, live, assistantId, log, errorOf: (turnId) => errorOf(db, turnId) });
  const outlet = streamOutlet({ db, stream, people: createPeople(), growth, assistantId, which: mirror, log }, pace);
  const outbox = await startOutbox({ db, bus, outlet, log });
  return {
    async status(limit) {
      const { count, behind } = await readBacklog(db, limit);
      return { mirror, waiting: count, behind, quota: stream.quota.left() };
    },
    async stop(ms) {
      growth.stop();
      await outbox.stop(ms);
    },
  };
}
