import type { Db } from "../db/db.ts";
import type { Outlet } from "../outbox/deliver.ts";
import { WEBHOOK } from "../outbox/ledger.ts";
import { PACE, type Pace } from "../outbox/pace.ts";
import { newsOf } from "./news.ts";
import { type Endpoint, post } from "./post.ts";

/** The operator's webhook, which is told the state of every conversation. */
export function webhookOutlet(db: Db, endpoint: Endpoint, pace: Pace = PACE): Outlet {
  return {
    ledger: WEBHOOK,
    pace,
    async tell(untold, { stop }) {
      const { rev, ...delivery } = await newsOf(db, untold);
      const outcome = await post(endpoint, delivery, { stop, timeoutMs: pace.timeoutMs });
      return { ...outcome, rev: outcome.kind === "told" ? rev : untold.after };
    },
  };
}
