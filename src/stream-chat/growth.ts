import type { Live } from "../core/live.ts";
import type { Post } from "../core/thread.ts";
import { sendEvent } from "./channels.ts";
import type { Stoppable, StreamChat } from "./client.ts";
import { type StreamMessage, updateEphemeral } from "./messages.ts";
import type { Mirrored } from "./mirrored-channel.ts";

/** Answers that are being made, as who watches their channel sees them grow. */

type GrowthDeps = {
  readonly stream: StreamChat;
  readonly live: Live;
  readonly assistantId: string;
  /** Why a turn failed. */
  errorOf(turnId: string | null): Promise<{ code: string } | null>;
  readonly log: { warn(fields: object, message: string): void };
};

type AiState = "AI_STATE_THINKING" | "AI_STATE_GENERATING" | "AI_STATE_ERROR";

/** How often answers are looked at, and how long one is left alone after an update, in milliseconds. */
const LOOK_MS = 100;
const PAUSE_MS = 500;
/** What an update may take, in milliseconds: a final one waits for it. */
const UPDATE_MS = 2_000;

type Standing = { readonly n: number; readonly text: string };

type Growing = {
  readonly messageId: string;
  readonly turnId: string;
  readonly channel: Mirrored;
  /** What was shown last: so much of its `n`th beginning. */
  n: number;
  length: number;
  since: number;
  state: AiState;
  sending: Promise<void> | null;
};

export type Growth = {
  /** Tells of an answer that is shown as it stands: that it is being made, from now on as it grows, or that it is over. */
  tell(
    post: Post,
    shown: { channel: Mirrored; first: StreamMessage | null; wasThere: boolean } & Stoppable,
  ): Promise<void>;
  /** Resolves when nothing more is shown of an answer's growth. */
  end(messageId: string): Promise<void>;
  stop(): void;
};

/**
 * Shows the growing text of this process's answers by updates that Stream does not keep. All share one budget, and the one
 * that has waited longest comes first; what is left out by it comes with the next one, or with the whole answer.
 */
export function startGrowth(deps: GrowthDeps): Growth {
  const { stream, live } = deps;
  const growing = new Map<string, Growing>();
  const timer = setInterval(look, LOOK_MS).unref();

  function look(): void {
    for (const one of [...growing.values()]) {
      const standing = live.turns.get(one.turnId)?.progress.standing;
      if (!standing) growing.delete(one.messageId);
      if (!standing || !hasGrown(one, standing)) continue;
      if (!stream.quota.budget.tryTake("live")) return;
      growing.delete(one.messageId); // to the end of the line
      growing.set(one.messageId, one);
      one.sending = showGrown(deps, one, standing)
        .catch((error) => deps.log.warn({ err: error, message_id: one.messageId }, "an answer's growth was not shown"))
        .finally(() => {
          one.sending = null;
          one.since = performance.now();
        });
    }
  }
  return {
    async tell({ id: messageId, status, turnId }, { channel, wasThere, signal }) {
      if (status !== "in_progress") {
        const isError = status === "failed" && (await deps.errorOf(turnId))?.code !== "turn_cancelled";
        const state = isError ? "AI_STATE_ERROR" : null;
        if (wasThere || isError) await indicate(deps, { messageId, channel }, { state, signal });
        return;
      }
      await indicate(deps, { messageId, channel }, { state: "AI_STATE_THINKING", signal });
      if (turnId === null || growing.has(messageId) || !live.turns.has(turnId)) return;
      const nothing = { n: 0, length: 0, since: 0, state: "AI_STATE_THINKING", sending: null } as const;
      growing.set(messageId, { messageId, turnId, channel, ...nothing });
    },
    async end(messageId) {
      const one = growing.get(messageId);
      growing.delete(messageId);
      await one?.sending;
    },
    stop: () => clearInterval(timer),
  };
}

const hasGrown = ({ n, length, sending, since, channel }: Growing, now: Standing): boolean =>
  !sending &&
  performance.now() - since >= PAUSE_MS &&
  (n !== now.n || length !== Math.min(now.text.length, channel.limit));

async function showGrown(deps: GrowthDeps, one: Growing, { n, text }: Standing): Promise<void> {
  const { stream, assistantId } = deps;
  const signal = AbortSignal.timeout(UPDATE_MS);
  const state = text === "" ? "AI_STATE_THINKING" : "AI_STATE_GENERATING";
  if (state !== one.state) await indicate(deps, one, { state, signal });
  const shown = text.slice(0, one.channel.limit);
  const set = { text: shown.toWellFormed(), ai_generated: true, generating: true };
  await updateEphemeral(stream, one.messageId, { set, userId: assistantId, signal });
  Object.assign(one, { n, length: shown.length, state });
}

/** No state: there is nothing more to wait for. */
async function indicate(
  { stream, assistantId }: GrowthDeps,
  { messageId, channel }: Pick<Growing, "messageId" | "channel">,
  { state, signal }: { state: AiState | null } & Stoppable,
): Promise<void> {
  const of = { message_id: messageId, user_id: assistantId, signal };
  if (state) await sendEvent(stream, channel.id, { type: "ai_indicator.update", ai_state: state, ...of });
  else await sendEvent(stream, channel.id, { type: "ai_indicator.clear", ...of });
}
