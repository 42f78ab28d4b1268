import { expect, onTestFinished } from "vitest";
import { openBus } from "../../src/bus/bus.ts";
import type { Actor } from "../../src/core/identity.ts";
import { post } from "../../src/core/posting.ts";
import { announcing } from "../../src/db/announcing.ts";
import type { Db } from "../../src/db/db.ts";
import { openDatabase, parseDatabaseUrl } from "../../src/db/index.ts";
import { createTransport } from "../../src/models/transport.ts";
import { type Outbox, startOutbox } from "../../src/outbox/outbox.ts";
import { PACE, type Pace } from "../../src/outbox/pace.ts";
import { webhookOutlet } from "../../src/webhooks/webhook.ts";
import { makeConversation, NOW, newUser } from "./core-instance.ts";
import type { Received, Receiver } from "./receiver.ts";
import { until } from "./story-until.ts";

export const SECRET = `whsec_${Buffer.from("a secret of the webhook's tests").toString("base64")}`;

/** Little time between tries, and as much as ever for each: the machine may be busy. */
export const QUICK: Pace = { ...PACE, lookMs: 20, firstRetryMs: 20, lastPauseMs: 50 };

export type Teller = {
  /** Makes its changes known to the webhook. */
  db: Db;
  logged: { fields: object; message: string }[];
  stop(ms?: number): Promise<void>;
};

/** An instance that tells a receiver of what changes in a database, until it is stopped or the test is over. */
export async function startTeller(
  url: string,
  receiver: Pick<Receiver, "url">,
  set: Partial<Pace> = {},
): Promise<Teller> {
  const database = await openDatabase(parseDatabaseUrl(url), { synchronous: "normal", webhook: true });
  const logged: Teller["logged"] = [];
  const put = (fields: object, message: string) => void logged.push({ fields, message });
  const log = { error: put, warn: put, info: () => {} };
  const bus = await openBus(database.carrier, log);
  const transport = createTransport();
  const secret = Buffer.from(SECRET.slice("whsec_".length), "base64");
  const endpoint = { url: receiver.url, secret, send: transport.send, clock: Date.now, userAgent: "parley/test" };
  const outlet = webhookOutlet(database, endpoint, { ...QUICK, ...set });
  const webhooks: Outbox = await startOutbox({ db: database, bus, outlet, log });
  let stopped: Promise<void> | undefined;
  const stop = async (ms: number) => {
    await webhooks.stop(ms);
    await bus.close();
    await transport.close();
    await database.close();
  };
  const teller: Teller = {
    db: announcing(database, (conversationId) => bus.send({ type: "changed", conversationId })),
    logged,
    stop: (ms = 0) => (stopped ??= stop(ms)),
  };
  onTestFinished(() => teller.stop());
  return teller;
}

export type Talk = { id: string; owner: Actor };

/** An empty conversation of a new user. */
export async function newTalk({ db }: Pick<Teller, "db">): Promise<Talk> {
  const owner = newUser();
  const { id } = await makeConversation(db, owner);
  return { id, owner };
}

/** The user says something that no model is asked about. */
export function say({ db }: Pick<Teller, "db">, { id, owner }: Talk, content: string) {
  const message = { conversationId: id, content, role: "user", senderId: owner.self } as const;
  return post({ db, clock: () => NOW }, owner, { ...message, metadata: null, extensions: [], key: null });
}

/** Waits until the receiver has been told of a conversation up to a revision, and has answered. */
export async function toldUpTo(receiver: Receiver, id: string, rev: number): Promise<Received[]> {
  await expect.poll(() => receiver.of(id).at(-1)?.json.data.rev, { interval: 5 }).toBe(rev);
  return receiver.of(id);
}

/** Waits until nothing is left to tell, nor noted as being told. */
export async function allTold(db: Db): Promise<void> {
  const { conversations, tombstones, deliveries } = db.tables;
  const untold = async () => {
    const rows = [...(await db.select().from(conversations)), ...(await db.select().from(tombstones))];
    return rows.filter(({ rev, told }) => rev > told).length + (await db.select().from(deliveries)).length;
  };
  await until("all to be told", async () => (await untold()) === 0);
}

/** Holds deliveries to a chain without gap or overlap from the first: what a receiver gets where nothing fails. */
export function expectChain(deliveries: readonly Received[]): void {
  const links = deliveries.map(({ json }) => [json.data.after, json.data.rev]);
  expect(links.map(([after]) => after)).toEqual([-1, ...links.slice(0, -1).map(([, rev]) => rev)]);
  for (const [after = 0, rev = 0] of links) expect(rev).toBeGreaterThan(after);
}
