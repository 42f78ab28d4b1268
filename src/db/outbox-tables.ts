import { type AnyColumn, sql } from "drizzle-orm";
import type { Columns } from "./columns.ts";

/** What others outside are told of, and what they tell. */

/** What somebody has been told of a conversation where there is nobody to tell: a revision that none reaches. */
export const NOBODY_TO_TELL = 2 ** 31 - 1;
/** The same where there is one, and it knows nothing of the conversation: below the revision that one is born with. */
const NEVER_TOLD = -1;

/** Up to which revision a conversation that is made now is known outside. */
export type Born = { readonly told: number; readonly mirrored: number };

/** Of a conversation that is made now nobody knows yet; but where there is nobody to tell, nothing is to be told. */
export const bornFor = ({ webhook, stream }: { webhook?: boolean; stream?: boolean }): Born => ({
  told: webhook ? NEVER_TOLD : NOBODY_TO_TELL,
  mirrored: stream ? NEVER_TOLD : NOBODY_TO_TELL,
});

type Event = Record<string, unknown>;

export function makeOutboxTables({ table, index, id, text, count, time }: Columns) {
  const tombstones = table(
    "tombstones",
    {
      id: id().primaryKey(),
      userId: text().notNull(),
      rev: count().notNull(),
      told: count().notNull().default(NOBODY_TO_TELL),
      mirrored: count().notNull().default(NOBODY_TO_TELL),
      deletedAt: time().notNull(),
    },
    (t) => [
      index("tombstones_untold").on(t.id).where(sql`rev > told`),
      index("tombstones_unmirrored").on(t.id).where(sql`rev > mirrored`),
    ],
  );

  // What is being told of a conversation, deleted ones too, or is to be told again: there is no row else.
  const claims = () => ({
    id: id().primaryKey(),
    leaseUntil: time(),
    attempts: count().notNull().default(0),
    retryAt: time(),
    error: text(),
  });
  const deliveries = table("deliveries", claims());
  const mirrorings = table("mirrorings", claims());

  return { tombstones, deliveries, mirrorings };
}

export function makeStreamTables({ table, index, ...column }: Columns, messages: { id: AnyColumn }) {
  const { id, text, count, time, json } = column;

  // Messages that came from Stream, under what id they are known there, and when the state was made that was taken over.
  const streamMessages = table("stream_messages", {
    id: id()
      .primaryKey()
      .references(() => messages.id as never, { onDelete: "cascade" }),
    streamId: text().notNull(),
    changedAt: time().notNull(),
  });

  // Channels that have another id than their conversation, deleted ones too.
  const streamChannels = table("stream_channels", { id: id().primaryKey(), streamId: text().notNull() });

  // Webhooks of Stream's, by its id of each: until they are done their event is kept, and some time longer the id.
  const streamEvents = table(
    "stream_events",
    {
      id: text().primaryKey(),
      event: json<Event>(),
      receivedAt: time().notNull(),
      leaseUntil: time(),
      attempts: count().notNull().default(0),
      retryAt: time(),
      doneAt: time(),
      error: text(),
    },
    (t) => [
      index("stream_events_due").on(t.receivedAt, t.id).where(sql`done_at is null`),
      index("stream_events_done").on(t.doneAt),
    ],
  );

  return { streamMessages, streamChannels, streamEvents };
}
