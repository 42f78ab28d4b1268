import type { Bus } from "../core/notes.ts";
import { createClaims } from "./claims.ts";
import { type Delivered, type DeliveryDeps, deliver } from "./deliver.ts";
import { adoptHistory } from "./history.ts";
import { createLine } from "./line.ts";
import { createReceiver, type Receiver } from "./pace.ts";

export type OutboxDeps = Omit<DeliveryDeps, "claims"> & {
  readonly bus: Bus;
  readonly log: { info(fields: object, message: string): void };
};

export type Outbox = {
  /** Begins no more deliveries, and gives running ones so many milliseconds; what is not told is told after the next start. */
  stop(ms: number): Promise<void>;
};

/** Conversations that wait in memory, at most; the others wait in the database, and are looked up so many at once. */
const MOST_WAITING = 1_000;
const LOOK = 64;
/** Changes that come within this time are told together, and out of the way of whoever made them, in milliseconds. */
const TOGETHER_MS = 20;

/**
 * Tells an outlet of every conversation that changes from now on, and of what was left untold before: at least once, a
 * conversation's revisions in order. What changes here is told at once; the rest is found when it is looked for.
 */
export async function startOutbox({ bus, ...given }: OutboxDeps): Promise<Outbox> {
  const { ledger, pace } = given.outlet;
  const deps = { ...given, claims: createClaims(ledger) };
  await adoptHistory(deps.db, ledger, deps.log);
  const receiver = createReceiver(pace);
  const line = createLine(receiver, async (id, stop) => {
    const delivered = await tell(deps, id, stop);
    heed(receiver, delivered);
    if (search.foundAll === false && line.waiting() < pace.atOnce) search.look();
    return "more" in delivered && delivered.more;
  });
  const search = createSearch(deps, (ids) => {
    for (const id of ids) line.put(id);
    line.goOn();
  });
  const look = () => {
    if (receiver.room() > 0 && line.waiting() <= MOST_WAITING) search.look();
    line.goOn();
  };
  let soon: NodeJS.Timeout | undefined;
  const unlisten = bus.listen((note, from) => {
    if (note.type !== "changed" || from === "elsewhere" || line.waiting() >= MOST_WAITING) return;
    line.put(note.conversationId);
    soon ??= setTimeout(() => {
      soon = undefined;
      line.goOn();
    }, TOGETHER_MS);
  });
  const timer = setInterval(look, pace.lookMs).unref();
  look();
  return {
    async stop(ms) {
      clearInterval(timer);
      clearTimeout(soon);
      unlisten();
      await Promise.all([search.ended(), line.stop(ms)]);
    },
  };
}

async function tell(deps: DeliveryDeps, id: string, stop: AbortController): Promise<Delivered> {
  try {
    return await deliver(deps, id, stop);
  } catch (error) {
    deps.log.error(
      { err: error, conversation_id: id },
      `${deps.outlet.ledger.name} could not be told of a conversation`,
    );
    return { kind: "nothing" }; // and is looked for again, once the claim has run out
  }
}

function heed(receiver: Receiver, delivered: Delivered): void {
  if (delivered.kind === "told") receiver.took();
  if (delivered.kind === "failed") receiver.failed(delivered.retryAfterMs);
  if (delivered.kind === "gone") receiver.leave();
}

/** Looks for what is due, once at a time. */
function createSearch({ db, claims, outlet, log }: DeliveryDeps, found: (ids: readonly string[]) => void) {
  let looking: Promise<void> | null = null;
  let foundAll = true;
  return {
    /** Whether the last look found less than it may. */
    get foundAll() {
      return foundAll;
    },
    look(): void {
      looking ??= claims
        .due(db, LOOK)
        .then((ids) => {
          foundAll = ids.length < LOOK;
          found(ids);
        })
        .catch((error) => log.error({ err: error }, `what ${outlet.ledger.name} was not told could not be looked for`))
        .finally(() => (looking = null));
    },
    ended: async () => void (await looking),
  };
}
