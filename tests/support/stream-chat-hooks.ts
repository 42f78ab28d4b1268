import { createHmac, randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import { membersOf, shownChannel } from "./stream-chat-channels.ts";
import type { App } from "./stream-chat-gate.ts";
import type { Fields, Happening, State } from "./stream-chat-state.ts";

/** How the fake Stream tells a webhook of what happens: https://getstream.io/chat/docs/node/webhooks_overview/ */

export type HookOptions = {
  gzip?: boolean;
  /** Each is delivered so often, whatever is answered. */
  times?: number;
  /** Whether what is only shown is told as well; the documents leave it open. */
  ephemeral?: boolean;
  /** At most, whatever is answered; else three, and two where nothing is, as Stream has it. */
  tries?: number;
};

export type Sent = {
  id: string;
  type: string;
  attempt: number /** null where no answer came. */;
  status: number | null;
};

export type Hooks = {
  /** From now on what happens to channels and messages is told there; null ends it. */
  to(url: string | null, options?: HookOptions): void;
  /** Every try, in order. */
  sent: Sent[];
  tell(state: State, happening: Happening): void;
  /** Resolves when everything that has happened so far is told, or given up. */
  settled(): Promise<void>;
};

/** What an app makes up and `ai_indicator` are for clients. */
const TOLD = /^(message|reaction|channel|member)\./;
const TRIES = 3;
const TRIES_WITHOUT_ANSWER = 2;
const PAUSE_MS = 20;
const TIMEOUT_MS = 60_000; // Stream waits six seconds, of a machine that is not busy

export function createHooks(app: App): Hooks {
  let target: { url: string; options: HookOptions } | null = null;
  let line = Promise.resolve();
  const sent: Sent[] = [];

  async function deliver(url: string, event: Fields, { times = 1, ...options }: HookOptions): Promise<void> {
    const id = randomUUID();
    const body = JSON.stringify(event);
    const { gzip = false, tries } = options;
    for (let time = 0; time < times; time++) {
      for (let attempt = 1; ; attempt++) {
        const status = await post(url, { app, id, attempt, body, gzip });
        sent.push({ id, type: String(event["type"]), attempt, status });
        if (!isWorthAgain(status) || attempt >= (tries ?? triesAfter(status))) break;
        await sleep(PAUSE_MS);
      }
    }
  }
  return {
    sent,
    to(url, options = {}) {
      target = url === null ? null : { url, options };
    },
    tell(state, happening) {
      if (
        !target ||
        !TOLD.test(happening.type) ||
        (happening["ephemeral"] === true && target.options.ephemeral === false)
      )
        return;
      const [{ url, options }, event] = [target, eventOf(state, happening)];
      line = line.then(() => deliver(url, event, options));
    },
    async settled() {
      for (let seen: unknown; seen !== line; ) {
        seen = line;
        await line;
      }
    },
  };
}

const triesAfter = (status: number | null): number => (status === null ? TRIES_WITHOUT_ANSWER : TRIES);

const isWorthAgain = (status: number | null): boolean =>
  status === null || status === 408 || status === 429 || status >= 500;

type Post = { app: App; id: string; attempt: number; body: string; gzip: boolean };

/** The signature is over the body before it is compressed. */
async function post(url: string, { app, id, attempt, body, gzip }: Post): Promise<number | null> {
  const headers = {
    "content-type": "application/json",
    "x-signature": createHmac("sha256", app.secret).update(body).digest("hex"),
    "x-api-key": app.apiKey,
    "x-webhook-id": id,
    "x-webhook-attempt": String(attempt),
    ...(gzip && { "content-encoding": "gzip" }),
  };
  try {
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    const answer = await fetch(url, { method: "POST", headers, body: gzip ? gzipSync(body) : body, signal });
    await answer.body?.cancel();
    return answer.status;
  } catch {
    return null; // refused, cut or late
  }
}

/** https://getstream.io/chat/docs/node/webhook_events/ */
function eventOf(state: State, { channel, by, ephemeral: _, ...happening }: Happening): Fields {
  const { id: channel_id, cid } = channel;
  const place = { cid, channel_id, channel_type: "messaging", channel: shownChannel(state, channel) };
  // As it stands now: what happens next is another event's.
  return structuredClone({
    ...{ ...happening, ...place, members: membersOf(state, channel).slice(0, 50) },
    ...(by && { user: by }),
    created_at: state.now(),
  });
}
