import { AppError, type Code } from "../core/errors.ts";
import { isConflict } from "../db/db.ts";
import { createLine } from "../outbox/line.ts";
import { PACE, retryDelay } from "../outbox/pace.ts";
import { type MessageEvent, type ReactionEvent, readEvent, type StreamEvent, streamEvent } from "./event.ts";
import * as rows from "./inbox-rows.ts";
import { createKnown } from "./known.ts";
import { type Delivery, openDelivery, type Signer } from "./signature.ts";
import { type Outcome, refused, type TakeOverDeps, takeMessage } from "./take-over.ts";
import { takeReaction } from "./take-reaction.ts";

/** Times in milliseconds. */
export type InboxPace = {
  /** An event that is held for so long is taken for lost. */
  readonly leaseMs: number;
  /** How often what nobody works on is looked for. */
  readonly lookMs: number;
  /** Between the tries of one event: from the first to the last it doubles. */
  readonly firstRetryMs: number;
  readonly lastRetryMs: number;
  /** How long something is waited for that an event is about and that is not here. */
  readonly unknownMs: number;
};

export const INBOX_PACE: InboxPace = {
  leaseMs: 10_000,
  lookMs: 1_000,
  firstRetryMs: 1_000,
  lastRetryMs: 60_000,
  unknownMs: 30_000,
};

/** Channels that are worked on at once, and events that wait in memory: the others wait in the database. */
const AT_ONCE = 8;
const MOST_WAITING = 1_000;
const LOOK = 64;
/** How long the ids of done events are kept; what fails for longer is given up. */
const KEPT_MS = 24 * 60 * 60 * 1000;
const FORGET_MS = 600_000;

export type InboxDeps = Omit<TakeOverDeps, "refusals"> &
  Signer & {
    readonly log: Record<"error" | "warn", (fields: object, message: string) => void>;
    readonly pace?: InboxPace;
  };

/** What became of a webhook: `other` is of a kind of which nothing is made here. */
export type Receipt = "stored" | "known" | "other";

export type StreamInbox = {
  /** Stores what a webhook tells, once; it is worked on after that. Throws as `openDelivery` does, and 400. */
  receive(delivery: Delivery): Promise<Receipt>;
  backlog(): Promise<{ waiting: number; oldest: number | null }>;
  /** Begins nothing more, and gives what runs so many milliseconds; the rest is worked on after the next start. */
  stop(ms: number): Promise<void>;
};

type Waiting = rows.StoredEvent & { since: number };

/** Works on what Stream tells by webhook: events of one channel one after the other, as far as one instance has them. */
export function startStreamInbox(deps: InboxDeps): StreamInbox {
  const { log, pace = INBOX_PACE } = deps;
  const { db } = deps.turns;
  const { leaseMs } = pace;
  const working = { ...deps, pace, refusals: createKnown<string>(MOST_WAITING) };
  const queues = new Map<string, Waiting[]>();
  let waiting = 0;
  let isOver = false;

  const line = createLine({ room: () => AT_ONCE }, async (channelId) => {
    const queue = queues.get(channelId) ?? [];
    const next = queue.shift();
    if (next) {
      waiting--;
      await workOn(working, next).catch((error) =>
        log.error({ err: error, webhook_id: next.id }, "an event of Stream Chat's could not be settled"),
      ); // it is looked for again once it is no longer held
    }
    if (queue.length === 0) queues.delete(channelId);
    return queue.length > 0;
  });

  function put(stored: rows.StoredEvent): void {
    const channelId = channelOf(stored);
    const queue = queues.get(channelId) ?? [];
    queue.push({ ...stored, since: performance.now() });
    queues.set(channelId, queue);
    waiting++;
    line.put(channelId);
    line.goOn();
  }
  const look = once(log, "could not be looked for", async () => {
    while (!isOver && waiting < LOOK) {
      const found = await rows.takeFree(db, { leaseMs, limit: LOOK });
      for (const one of found) put(one);
      if (found.length < LOOK) return;
    }
  });
  const forget = once(log, "could not be forgotten", () => rows.forgetDone(db, KEPT_MS));
  const timers = [setInterval(look, pace.lookMs).unref(), setInterval(forget, FORGET_MS).unref()];
  look();

  async function take(id: string, event: StreamEvent): Promise<Receipt> {
    const mayWait = !isOver && waiting < MOST_WAITING;
    const stored = await rows.store(db, { id, event, leaseMs: mayWait ? leaseMs : 0 });
    if (stored && mayWait) put(stored);
    return stored ? "stored" : "known";
  }
  return {
    async receive(delivery) {
      const { id, text } = await openDelivery(delivery, deps);
      const read = readEvent(parsed(text));
      if (read.kind === "other") return "other";
      if (read.kind === "event") return take(id, read.event);
      const isNew = await rows.storeDone(db, { id, error: "malformed" });
      if (isNew) log.warn({ webhook_id: id }, "an event of Stream Chat's is not of a shape that is known");
      return isNew ? "stored" : "known";
    },
    backlog: () => rows.waitingEvents(db),
    async stop(ms) {
      isOver = true;
      timers.forEach(clearInterval);
      await Promise.all([look.ended(), forget.ended(), line.stop(ms)]);
      await rows.giveBack(db, [...queues.values()].flat());
    },
  };
}

const channelOf = ({ id, event }: rows.StoredEvent): string =>
  streamEvent.safeParse(event).data?.channel_id ?? `unread ${id}`;

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new AppError("malformed_json", "The body is no valid JSON.");
  }
}

/** Does something in the background, once at a time. */
function once(log: InboxDeps["log"], failed: string, work: () => Promise<unknown>) {
  let running: Promise<void> | null = null;
  const start = () => {
    running ??= work()
      .then(() => {})
      .catch((error) => log.error({ err: error }, `events of Stream Chat's ${failed}`))
      .finally(() => (running = null));
  };
  return Object.assign(start, { ended: async () => void (await running) });
}

/** Failures that may pass; every other one of ours is said for good. */
const PASSING: readonly Code[] = ["not_found", "conversation_busy", "provider_unavailable", "internal_error"];

type Working = InboxDeps & TakeOverDeps & { readonly pace: InboxPace };

async function workOn(deps: Working, taken: Waiting): Promise<void> {
  const { pace, turns } = deps;
  const isFresh = performance.now() - taken.since < pace.leaseMs / 2;
  const stored = isFresh ? taken : await rows.hold(turns.db, taken, pace.leaseMs);
  if (!stored) return; // it became another instance's
  const settle = await outcomeOf(deps, stored).then(
    (outcome) => () => settled(deps, stored, outcome),
    (error) => () => failed(deps, stored, error),
  );
  await settle();
}

function outcomeOf(deps: Working, { event }: rows.StoredEvent): Promise<Outcome> {
  const { data } = streamEvent.safeParse(event);
  if (!data) return Promise.resolve(refused("malformed")); // stored by another version
  return isReaction(data) ? takeReaction(deps, data) : takeMessage(deps, data);
}

const isReaction = (event: MessageEvent | ReactionEvent): event is ReactionEvent => "reaction" in event;

async function settled(deps: Working, stored: rows.StoredEvent, outcome: Outcome): Promise<void> {
  const { pace, turns, log } = deps;
  if (outcome.kind === "done") return void (await rows.done(turns.db, stored.id, null));
  const isLate = stored.ageMs > pace.unknownMs;
  if (outcome.kind === "unknown" && !isLate) return putOff(deps, stored, "unknown_message");
  const reason = outcome.kind === "unknown" ? "unknown_message" : outcome.reason;
  log.warn({ webhook_id: stored.id, reason }, "nothing was made of an event of Stream Chat's");
  await rows.done(turns.db, stored.id, reason);
}

async function failed(deps: Working, stored: rows.StoredEvent, error: unknown): Promise<void> {
  if (error instanceof AppError && !PASSING.includes(error.code)) return settled(deps, stored, refused(error.code));
  const isOld = stored.ageMs > KEPT_MS;
  if (isOld) return settled(deps, stored, refused("given_up"));
  if (error instanceof AppError) return putOff(deps, stored, error.code);
  if (isConflict(error)) return putOff(deps, stored, "conflict");
  deps.log.error({ err: error, webhook_id: stored.id }, "an event of Stream Chat's failed; it is tried again");
  await putOff(deps, stored, "failed");
}

async function putOff({ pace, turns }: Working, { id, attempts }: rows.StoredEvent, error: string): Promise<void> {
  const tried = { attempts: attempts + 1, retryAfterMs: null, random: Math.random() };
  await rows.tryLater(turns.db, { id, delayMs: retryDelay(tried, { ...PACE, ...pace }), error });
}
