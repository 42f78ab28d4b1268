import { setTimeout as sleep } from "node:timers/promises";
import { pick, type Random } from "../tests/support/core-random.ts";
import { type Heard, nothingHeard } from "../tests/support/stream-frames.ts";
import { type Asking, type Reading, readStream } from "../tests/support/stream-reader.ts";
import { acknowledge, finishReading, type Ledger, type Sent } from "./ledger.ts";

export type Setting = {
  url: string;
  random: Random;
  ledger: Ledger;
  conversations: Conversations;
  /** No new messages; those that are sent are seen through. */
  over: AbortSignal;
  /** Whoever has no answer now gives up. */
  late: AbortSignal;
};

/** Their ids. In `crowded` many send at once; in `restless` some interrupt. */
export type Conversations = Record<"calm" | "crowded" | "restless", readonly [string, ...string[]]>;

type Outcome = "done" | "again" | { goOn: Heard };

/** Sends one message after the other, each until it is answered, over however many lives of the service. */
export async function runClient(setting: Setting, name: number): Promise<void> {
  const { ledger, random, over, late } = setting;
  for (let i = 0; !over.aborted; i++) {
    const sent = compose(setting, `#m${name}-${i}#`);
    ledger.sent.push(sent);
    let outcome: Outcome = "again";
    while (outcome !== "done" && !late.aborted) {
      const asking = next(setting, sent, outcome);
      outcome = await attempt(setting, sent, asking).catch(() => again(asking.heard));
      if (outcome !== "done") await sleep(20 + random(200));
    }
  }
}

function compose({ random, conversations }: Setting, mark: string): Sent {
  const kind = pick<keyof Conversations | "new">(random, [
    "calm",
    "calm",
    "calm",
    "calm",
    "calm",
    "crowded",
    "restless",
    "new",
  ]);
  const message = `${mark} and ${"é日🌊".repeat(random(20))}`;
  const interrupts = kind === "restless" && random(4) === 0 ? { if_busy: "interrupt" } : {};
  const sent = {
    text: message,
    mark,
    key: `key-${mark}`,
    mayBeCancelled: kind === "restless",
    acknowledged: false,
    answered: undefined,
  };
  if (kind === "new") return { ...sent, path: "/api/chat/send", body: { message } };
  const chat_id = pick(random, conversations[kind]);
  return { ...sent, path: "/chat", body: { chat_id, message, ...interrupts } };
}

const again = (heard: Heard | undefined): Outcome =>
  heard?.turnId !== undefined && !heard.end ? { goOn: heard } : "again";

/** The same request with the same key, or the rest of the stream that broke off. */
function next({ random, ledger }: Setting, sent: Sent, before: Outcome): Asking {
  if (typeof before === "object" && random(4) > 0) {
    const heard = before.goOn;
    ledger.resumed++;
    const headers = heard.lastId === undefined ? {} : { "last-event-id": heard.lastId };
    return { path: `/api/v1/turns/${heard.turnId}/stream`, heard, headers };
  }
  const body = { ...sent.body, stream: random(3) > 0 };
  return { path: sent.path, body, heard: nothingHeard(), headers: { "idempotency-key": sent.key } };
}

async function attempt(setting: Setting, sent: Sent, asking: Asking): Promise<Outcome> {
  const { url, random, ledger } = setting;
  const leavesAfter = random(3) === 0 ? 1 + random(8) : Number.POSITIVE_INFINITY;
  const cancels = random(30) === 0;
  const reading = await readStream(url, {
    ...asking,
    signal: setting.late,
    onFrame({ event }, { heard, frames, drop }) {
      acknowledge(sent, heard.turnId);
      if (cancels && event === "message.delta" && frames.length < 4) cancel(setting, sent, heard);
      if (frames.length >= leavesAfter) drop();
    },
  });
  const { whole } = await reading.over;
  const { heard, status } = reading;
  if (status !== 200 || reading.problem !== "") return whole ? settle(ledger, sent, reading) : "again";
  if (!heard.end) return again(heard);
  finishReading(ledger, sent, heard);
  return outcomeOf(ledger, sent, heard.end.event === "turn.completed" ? undefined : heard.end.data.error?.code);
}

/** What a plain answer comes to. */
function settle(ledger: Ledger, sent: Sent, { status, problem }: Reading): Outcome {
  const answer = JSON.parse(problem);
  acknowledge(sent, answer.turn_id);
  if (status !== 200) return outcomeOf(ledger, sent, answer.code);
  sent.answered ??= { turnId: answer.turn_id, text: answer.reply ?? answer.message, at: performance.now() };
  return "done";
}

function outcomeOf(ledger: Ledger, sent: Sent, code: string | undefined): Outcome {
  if (code === undefined) return "done";
  if (["provider_failed", "provider_unavailable", "queue_full"].includes(code)) return "again";
  if (code !== "turn_cancelled" || !sent.mayBeCancelled) ledger.unexpected.push(`${sent.mark}: ${code}`);
  return "done";
}

function cancel({ url }: Setting, sent: Sent, { turnId }: Heard): void {
  sent.mayBeCancelled = true;
  fetch(`${url}/api/v1/turns/${turnId}/cancel`, { method: "POST" })
    .then((response) => response.body?.cancel())
    .catch(() => {}); // killed before it could answer
}
