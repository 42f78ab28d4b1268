/** Stream counts each of these for itself, in windows of a minute: https://getstream.io/chat/docs/node/rate_limits/. */
export type CallKind =
  | "QueryUsers"
  | "UpdateUsers"
  | "GetOrCreateChannel"
  | "UpdateChannel"
  | "DeleteChannel"
  | "SendMessage"
  | "GetMessage"
  | "UpdateMessage"
  | "UpdateMessageEphemeral"
  | "DeleteMessage"
  | "SendReaction"
  | "DeleteReaction"
  | "GetReactions"
  | "SendEvent"
  | "GetApp";

export type Left = {
  limit: number;
  remaining: number;
  /** When the quota is filled again, in milliseconds since 1970 by the clock here. */
  resetAt: number;
};

type Headers = (name: string) => string | undefined;

/** What is left of Stream's quotas, as its answers tell. */
export type Quota = {
  /** Learns from an answer; gives the milliseconds until the quota is filled again, null where the answer does not say. */
  note(kind: CallKind, answer: { status: number; header: Headers }): number | null;
  /** What is left of each quota whose window is not over. */
  left(): Partial<Record<CallKind, Left>>;
  readonly budget: Budget;
};

/** The updates of all answers that grow here, together. */
export type Budget = {
  /** Whether an update may be sent now, which then counts. A final one always may. */
  tryTake(update: "live" | "final"): boolean;
};

const WINDOW_MS = 60_000;
const SHORTEST_MS = 1_000;
/** Of the updates that Stream allows in a minute, until it says how many these are. */
const UPDATES = 1_000;
/** The share of them that growing answers may take: other instances and final updates want theirs. */
const SHARE = 0.5;
/** Below this share nothing but final updates is sent. */
const RESERVE = 0.25;
/** So much of a minute's share may go out at once. */
const BURST = 1 / 60;
/** Whether Stream counts the two together is not documented, so both have to have room. */
const UPDATE_KINDS = ["UpdateMessage", "UpdateMessageEphemeral"] as const;

/** `clock` gives milliseconds since 1970. */
export function createQuota(clock: () => number): Quota {
  const known = new Map<CallKind, Left>();
  let blockedUntil = 0;
  const left = (kind: CallKind): Left | undefined => {
    const found = known.get(kind);
    return found && found.resetAt > clock() ? found : undefined;
  };
  const hasRoom = (): boolean =>
    clock() >= blockedUntil &&
    UPDATE_KINDS.every((kind) => {
      const found = left(kind);
      return !found || found.remaining >= found.limit * RESERVE;
    });
  const limit = () => Math.min(...UPDATE_KINDS.map((kind) => known.get(kind)?.limit ?? UPDATES));
  return {
    note(kind, { status, header }) {
      const wait = untilReset(header, clock());
      const now = clock();
      const [limit, remaining] = [wholeOf(header("x-ratelimit-limit")), wholeOf(header("x-ratelimit-remaining"))];
      if (wait !== null && limit !== null && remaining !== null) {
        known.set(kind, newer(left(kind), { limit, remaining, resetAt: now + wait }));
      }
      const isUpdate = UPDATE_KINDS.some((one) => one === kind);
      if (status === 429 && isUpdate) blockedUntil = Math.max(blockedUntil, now + (wait ?? WINDOW_MS));
      return wait;
    },
    left: () =>
      Object.fromEntries(
        [...known.keys()].flatMap((kind) => [left(kind)].flatMap((one) => (one ? [[kind, one]] : []))),
      ),
    budget: createBudget({ clock, hasRoom, limit }),
  };
}

type Pacing = { clock: () => number; hasRoom: () => boolean; limit: () => number };

/** A bucket that fills at the pace of our share; final updates take from it too, and may leave a debt. */
function createBudget({ clock, hasRoom, limit }: Pacing): Budget {
  let [level, at] = [Infinity, clock()];
  return {
    tryTake(update) {
      const [now, share] = [clock(), limit() * SHARE];
      const full = Math.max(1, share * BURST);
      level = Math.min(full, level + (Math.max(0, now - at) / WINDOW_MS) * share);
      at = now;
      if (update === "live" && (level < 1 || !hasRoom())) return false;
      level = Math.max(level - 1, -share); // a backlog of final updates holds growing answers back for a minute at most
      return true;
    },
  };
}

/** Answers overtake each other: within one window the least that was told is true. */
function newer(before: Left | undefined, after: Left): Left {
  const isSame = before !== undefined && Math.abs(before.resetAt - after.resetAt) < WINDOW_MS / 2;
  return isSame ? { ...after, remaining: Math.min(before.remaining, after.remaining) } : after;
}

/** By Stream's own clock where its answer has one; never past a window. */
function untilReset(header: Headers, now: number): number | null {
  const reset = wholeOf(header("x-ratelimit-reset"));
  if (reset === null) return null;
  const there = Date.parse(header("date") ?? "");
  const wait = reset * 1000 - (Number.isNaN(there) ? now : there);
  return Math.min(Math.max(wait, SHORTEST_MS), WINDOW_MS);
}

const wholeOf = (value: string | undefined): number | null =>
  value !== undefined && /^\d{1,15}$/.test(value) ? Number(value) : null;
