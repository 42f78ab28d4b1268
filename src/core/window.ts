import { z } from "zod";
import type { BegunTurn } from "../db/turn-writes.ts";
import { type Cache, keepAt, keptAt } from "./cache.ts";
import { messageTokens, type Placed, promptBudget } from "./context.ts";
import type { Ended, LiveTurn, TurnDeps } from "./live.ts";
import { readContext } from "./running.ts";

/** What a turn's model may be shown of its conversation, out of the cache where it has that, else out of the database. */

/** Messages, the newest first, and how many older ones were left out. */
export type Window = { newestFirst: Placed[]; older: number };

const schema: z.ZodType<Window> = z.object({
  newestFirst: z.array(
    z.object({
      seq: z.int(),
      role: z.enum(["user", "assistant", "agent", "system"]),
      senderId: z.string().nullable(),
      content: z.string(),
    }),
  ),
  older: z.int(),
});

/** What a turn was begun on, to which its begin added `said` and its answer. In line, others go first. */
export const basisOf = ({ seq, status }: Pick<BegunTurn, "seq" | "status">, said: readonly Placed[]) =>
  status === "queued" ? null : { rev: seq - 1 - said.length, said };

type Reader = Pick<LiveTurn, "conversationId" | "before" | "basis" | "plan">;

const keyOf = (conversationId: string) => `window:${conversationId}`;

/** The window of a turn that has just begun, up to its question. */
export async function readWindow({ db, cache }: Pick<TurnDeps, "db" | "cache">, turn: Reader): Promise<Window> {
  const { conversationId, before, plan } = turn;
  const enough = (read: readonly Placed[]) => countOf(read, plan.window) < read.length;
  const kept = await keptWindow(cache, turn);
  if (kept && (kept.older === 0 || enough(kept.newestFirst))) return kept;
  return readContext(db, { conversationId, before, enough });
}

async function keptWindow(cache: Cache | null, { conversationId, before, basis }: Reader): Promise<Window | undefined> {
  if (!basis) return undefined;
  const { rev, said } = basis;
  if (rev === 0) return { newestFirst: [...said], older: 0 }; // nothing was ever said before
  if (!cache) return undefined;
  const kept = keptAt(await cache.get(keyOf(conversationId)), rev, schema);
  // Another answer to a stored question is shown nothing of what comes after it.
  return kept && { ...kept, newestFirst: [...said, ...kept.newestFirst.filter(({ seq }) => seq < before)] };
}

type Whole = { window: Window; ended: Ended; rev: number };

/**
 * Keeps the window of the next turn: this one's, and its answer. `rev` is the revision that the end of the turn took. If
 * it is not the very next one, others have changed something meanwhile, and the next turn reads for itself.
 */
export function keepWindow(cache: Cache, turn: Reader & Pick<LiveTurn, "seq">, { window, ended, rev }: Whole): void {
  const { seq, before, basis, plan, conversationId } = turn;
  if (!basis || before !== seq || rev !== seq + 1 + ended.alternatives.length) return;
  const { content } = ended;
  const all = [...window.newestFirst];
  if (content !== "") all.unshift({ seq, role: "assistant", senderId: null, content });
  const newestFirst = all.slice(0, countOf(all, plan.window) + 1);
  const older = window.older + all.length - newestFirst.length;
  keepAt(cache, keyOf(conversationId), { rev, value: { newestFirst, older } });
}

/** How many of the newest messages fit into a model's window. */
function countOf(newestFirst: readonly Placed[], window: number): number {
  let left = promptBudget(window);
  const first = newestFirst.findIndex(({ content }) => {
    left -= messageTokens(content);
    return left < 0;
  });
  return first === -1 ? newestFirst.length : first;
}
