import { createHmac, randomUUID } from "node:crypto";
import { gzipSync } from "node:zlib";
import { onTestFinished } from "vitest";
import type { Db } from "../../src/db/db.ts";
import { INBOX_PACE, type InboxPace, type Receipt, startStreamInbox } from "../../src/stream-chat/inbox.ts";
import type { Delivery } from "../../src/stream-chat/signature.ts";
import { type Instance, newUser } from "./core-instance.ts";
import { until } from "./story-until.ts";

export const APP = { apiKey: "stream-key-of-the-tests", secret: "stream-secret-of-the-tests" };
export const ASSISTANT = "assistant";

export type Event = Record<string, unknown>;
type Signing = { id?: string | null; gzip?: boolean; apiKey?: string; secret?: string };

/** A webhook's body and headers, as Stream sends them. */
export function signed(event: Event | string | Uint8Array, signing: Signing = {}) {
  const { id = randomUUID(), gzip = false, apiKey, secret } = { ...APP, ...signing };
  const isBytes = event instanceof Uint8Array;
  const body = Buffer.from(isBytes || typeof event === "string" ? event : JSON.stringify(event));
  return {
    bytes: new Uint8Array(gzip ? gzipSync(body) : body),
    headers: {
      "content-type": "application/json",
      "x-signature": createHmac("sha256", secret).update(body).digest("hex"),
      "x-api-key": apiKey,
      "x-webhook-attempt": "1",
      ...(id !== null && { "x-webhook-id": id }),
      ...(gzip && { "content-encoding": "gzip" }),
    } as Record<string, string>,
  };
}

/** A moment of Stream's, so many seconds after the first. */
export const at = (seconds: number): string => new Date(Date.UTC(2026, 0, 31, 12) + seconds * 1000).toISOString();

export type StreamTalk = { channel: string; user: string };

/** A channel that nobody knows yet, of a user who is new. */
export const newChannel = (channel: string = randomUUID()): StreamTalk => ({ channel, user: newUser().userId });

/** An event about a message; it is the user's, and was said at the first moment, unless something else is said. */
export function messageEvent(type: string, { channel, user }: StreamTalk, message: Event, more: Event = {}): Event {
  const { role = "user", ...fields } = message;
  const from = { id: user, role, banned: false };
  return {
    type: `message.${type}`,
    cid: `messaging:${channel}`,
    channel_type: "messaging",
    channel_id: channel,
    message: { type: "regular", attachments: [], created_at: at(0), updated_at: at(0), user: from, ...fields },
    user: from,
    members: [{ user_id: user, user: from }],
    created_at: at(1),
    ...more,
  };
}

export function reactionEvent(type: string, talk: StreamTalk, about: Event & { message: string; on?: Event }): Event {
  const { message, on, by = talk.user, emoji = "love", when = at(0), latest_reactions = [], ...fields } = about;
  const event = messageEvent("new", talk, { id: message, text: "", latest_reactions, ...on });
  const reaction = { type: emoji, user_id: by, score: 1, created_at: when, ...fields };
  return { ...event, type: `reaction.${type}`, reaction, created_at: when };
}

export type Inbox = {
  /** A webhook with an id of its own, unless one is given. */
  tell(event: Event, id?: string): Promise<Receipt>;
  /** The same, and waits until all there is has been worked on; gives the words with which the event ended. */
  work(event: Event): Promise<string | null>;
  settled(): Promise<void>;
  backlog(): Promise<{ waiting: number; oldest: number | null }>;
  logged: { fields: Record<string, unknown>; message: string }[];
  stop(ms?: number): Promise<void>;
};

/** Little time between tries and looks, and as much as ever for each. */
export const QUICK: InboxPace = { ...INBOX_PACE, lookMs: 10, firstRetryMs: 20, lastRetryMs: 40, unknownMs: 300 };

/** An instance's inbox, until it is stopped or the test is over. */
export function startInbox(turns: Instance, pace: Partial<InboxPace> = {}): Inbox {
  const logged: Inbox["logged"] = [];
  const put = (fields: object, message: string) => void logged.push({ fields: { ...fields }, message });
  const log = { error: put, warn: put };
  const inbox = startStreamInbox({
    ...{ ...APP, assistantId: ASSISTANT, most: 100_000, turns, log },
    pace: { ...QUICK, ...pace },
  });
  const tell: Inbox["tell"] = (event, id = randomUUID()) => inbox.receive(deliveryOf(signed(event, { id })));
  const settled = () => until("the inbox to be empty", async () => (await inbox.backlog()).waiting === 0, 6_000);
  let stopped: Promise<void> | undefined;
  const stop = (ms = 1_000) => (stopped ??= inbox.stop(ms));
  onTestFinished(() => stop());
  return {
    ...{ tell, settled, backlog: inbox.backlog, logged, stop },
    async work(event) {
      const id = randomUUID();
      await tell(event, id);
      await settled();
      const [row] = (await turns.db.select().from(turns.db.tables.streamEvents)).filter((one) => one.id === id);
      if (!row || row.event !== null || row.doneAt === null) throw new Error("the event is not done");
      return row.error;
    },
  };
}

export const deliveryOf = ({ bytes, headers }: ReturnType<typeof signed>): Delivery => ({
  read: async () => bytes,
  signature: headers["x-signature"],
  apiKey: headers["x-api-key"],
  webhookId: headers["x-webhook-id"],
});

/** The same database; right before the first change of a conversation something else happens. */
export function before(db: Db, conversationId: string, happen: () => Promise<unknown>): Db {
  let isOver = false;
  const batch: Db["batch"] = async (steps) => {
    if (!isOver && steps[0]?.values["conversationId"] === conversationId) {
      isOver = true;
      await happen();
    }
    return db.batch(steps);
  };
  return { ...db, batch };
}
