import type { Redis } from "./bus/redis.ts";
import type { Desks } from "./core/desks.ts";
import type { TurnDeps } from "./core/live.ts";
import type { Bus } from "./core/notes.ts";
import type { Watch } from "./core/watch.ts";
import type { Db } from "./db/db.ts";
import type { Handled, Logger } from "./http/log.ts";
import type { StreamInbox } from "./stream-chat/inbox.ts";
import type { StreamMirror } from "./stream-chat/stream.ts";

type ModelTarget = { target: string; usable: boolean; breaker: "closed" | "open" | "half_open" };

export type ModelList = {
  default: string;
  aliases: { alias: string; usable: boolean; targets: ModelTarget[] }[];
  providers: string[];
};

/** What the routes are given. */
export type Services = {
  readonly db: Db;
  readonly redis: Redis | null;
  readonly bus: Bus;
  readonly watch: Watch;
  readonly desks: Desks;
  readonly turns: TurnDeps;
  /** null where there is no Stream Chat. */
  readonly stream: StreamMirror | null;
  /** Milliseconds since 1970. */
  readonly clock: () => number;
  readonly log: Logger;
  /** Which models there are, and which are usable with the keys at hand. */
  readonly models: () => ModelList;
  readonly metrics: {
    request(handled: Handled): void;
    /** In Prometheus' text format. */
    read(): Promise<string>;
  };
  /** How many event streams each user has open. */
  readonly streams: Map<string, number>;
  readonly version: string;
  /** Takes what Stream Chat tells by webhook; null where there is none. */
  readonly streamInbox: Pick<StreamInbox, "receive" | "backlog"> | null;
  readonly phase: () => "starting" | "ready" | "draining";
  /** Aborts when the service begins to stop: streams that would never end by themselves end then. */
  readonly leaving: AbortSignal;
};
