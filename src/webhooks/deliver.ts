import type { Db } from "../db/db.ts";
import { type Claim, claimConversation, giveBack, giveUp, settle, tryLater } from "./claims.ts";
import { isUntold, nextNews } from "./news.ts";
import { type Pace, retryDelay } from "./pace.ts";
import { type Endpoint, type Outcome, post } from "./post.ts";

export type DeliveryDeps = {
  /** Not one that announces: that something was told is no change. */
  readonly db: Db;
  readonly endpoint: Endpoint;
  readonly pace: Pace;
  readonly log: {
    error(fields: object, message: string): void;
    warn(fields: object, message: string): void;
  };
};

/** What came of a look at one conversation; `more`: there may be more to tell. */
export type Delivered = Outcome | { kind: "nothing" } | { kind: "told"; more: boolean };

/** Tells the webhook what it has not been told of a conversation, unless another instance does or its time has not come. */
export async function deliver(deps: DeliveryDeps, id: string, stop: AbortController): Promise<Delivered> {
  const { db, pace } = deps;
  if (!(await isUntold(db, id))) return { kind: "nothing" };
  const begun = performance.now();
  const claim = await claimConversation(db, id, pace.leaseMs);
  if (!claim) return { kind: "nothing" };
  const news = await nextNews(db, id);
  if (!news) {
    await giveUp(db, claim);
    return { kind: "nothing" };
  }
  // A process that slept meanwhile may have lost its claim: it must not tell what another has gone past.
  if (performance.now() - begun > pace.leaseMs - pace.timeoutMs) return { kind: "nothing" };
  const outcome = await post(deps.endpoint, news, { stop, timeoutMs: pace.timeoutMs });
  if (outcome.kind === "told") return { kind: "told", more: await settle(db, claim, news) };
  if (outcome.kind === "failed") await putOff(deps, claim, outcome);
  else await giveBack(db, claim);
  if (outcome.kind === "gone") deps.log.error({}, "the webhook answered 410: it is told nothing until the next start");
  return outcome;
}

type Failed = Extract<Outcome, { kind: "failed" }>;

async function putOff({ db, pace, log }: DeliveryDeps, claim: Claim, { reason, retryAfterMs }: Failed): Promise<void> {
  const attempts = claim.attempts + 1;
  const delayMs = retryDelay({ attempts, retryAfterMs, random: Math.random() }, pace);
  const told = { conversation_id: claim.id, reason, attempts, retry_in_ms: delayMs };
  log.warn(told, "the webhook did not take a delivery; it is tried again");
  await tryLater(db, claim, { delayMs, error: reason });
}
