import type { TurnDeps } from "./core/live.ts";
import type { Db } from "./db/db.ts";
import type { Logger } from "./http/log.ts";

/** What the routes are given. */
export type Services = {
  readonly db: Db;
  readonly turns: TurnDeps;
  /** Milliseconds since 1970. */
  readonly clock: () => number;
  readonly log: Logger;
  readonly version: string;
  readonly phase: () => "starting" | "ready" | "draining";
};
