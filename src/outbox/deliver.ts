import type { Db } from "../db/db.ts";
import type { Claim, Claims, Progress } from "./claims.ts";
import type { Ledger, Untold } from "./ledger.ts";
import { type Pace, retryDelay } from "./pace.ts";

/** What a telling is aborted with when the process is about to end. */
export const STOPPED = new Error("stopped");

/** How a telling ended, and up to which revision it came: that is noted however it ended. */
export type Outcome = { readonly rev: number } & (
  | { readonly kind: "told" }
  | { readonly kind: "failed"; readonly reason: string; readonly retryAfterMs: number | null }
  /** Nothing more is wanted. */
  | { readonly kind: "gone" }
  | { readonly kind: "stopped" }
);

/** Somebody outside who is told of every change. */
export type Outlet = {
  readonly ledger: Ledger;
  readonly pace: Pace;
  /**
   * Tells of what changed after `untold.after`, in the order of the revisions: as much of it as it likes, but the first
   * revision at least. No call that it makes takes longer than the pace says, and before each but the first it asks whether
   * the claim still holds.
   */
  tell(untold: Untold, way: Way): Promise<Outcome>;
};

export type Way = {
  readonly stop: AbortController;
  /** Whether there is time for one more call: the claim is renewed where it is about to run out. */
  holds(): Promise<boolean>;
};

export type DeliveryDeps = {
  /** Not one that announces: that something was told is no change. */
  readonly db: Db;
  readonly outlet: Outlet;
  readonly claims: Claims;
  readonly log: {
    error(fields: object, message: string): void;
    warn(fields: object, message: string): void;
  };
};

/** What came of a look at one conversation; `more`: there may be more to tell. */
export type Delivered = Exclude<Outcome, { kind: "told" }> | { kind: "nothing" } | { kind: "told"; more: boolean };

/** Tells what has not been told of a conversation, unless another instance does or its time has not come. */
export async function deliver(deps: DeliveryDeps, id: string, stop: AbortController): Promise<Delivered> {
  const { db, claims, outlet } = deps;
  const { ledger, pace } = outlet;
  if (!(await claims.untold(db, id))) return { kind: "nothing" };
  let since = performance.now();
  let claim = await claims.take(db, id, pace.leaseMs);
  if (!claim) return { kind: "nothing" };
  const untold = await claims.untold(db, id);
  if (!untold) {
    await claims.giveUp(db, claim);
    return { kind: "nothing" };
  }
  // A process that slept meanwhile may have lost its claim: it must not tell what another has gone past.
  const isLate = () => performance.now() - since > pace.leaseMs - pace.timeoutMs;
  if (isLate()) return { kind: "nothing" };
  async function holds(): Promise<boolean> {
    const now = performance.now();
    if (claim && now - since > (pace.leaseMs - pace.timeoutMs) / 2) {
      claim = await claims.renew(db, claim, pace.leaseMs);
      since = now;
    }
    return claim !== null && !isLate();
  }
  const outcome = await outlet.tell(untold, { stop, holds });
  if (!claim) return { kind: "nothing" };
  const progress = { untold, rev: outcome.rev };
  if (outcome.kind === "told") return { kind: "told", more: await claims.settle(db, claim, progress) };
  if (outcome.kind === "failed") await putOff(deps, claim, { ...outcome, ...progress });
  else await claims.giveBack(db, claim, progress);
  if (outcome.kind === "gone")
    deps.log.error({}, `${ledger.name} answered 410: it is told nothing until the next start`);
  return outcome;
}

type Failed = Extract<Outcome, { kind: "failed" }> & Progress;

async function putOff({ db, claims, outlet, log }: DeliveryDeps, claim: Claim, failed: Failed): Promise<void> {
  const { reason, retryAfterMs, untold, rev } = failed;
  const attempts = rev > untold.after ? 1 : claim.attempts + 1;
  const delayMs = retryDelay({ attempts, retryAfterMs, random: Math.random() }, outlet.pace);
  const fields = { conversation_id: claim.id, reason, attempts, retry_in_ms: delayMs };
  await claims.tryLater(db, claim, { untold, rev, delayMs, error: reason });
  log.warn(fields, `${outlet.ledger.name} did not take a delivery; it is tried again`);
}
