import { followTurn } from "../../src/core/follow.ts";
import type { Actor } from "../../src/core/identity.ts";
import type { LiveTurn, SeenTurn, TurnDeps, TurnRef } from "../../src/core/live.ts";
import type { Place, TurnEvent } from "../../src/core/progress.ts";
import { as } from "./core-instance.ts";

/** What a client has of an answer: its text, and the place that the last id named. */
export type Client = { text: string; place: Place; restarts: string[]; ended: TurnEvent | null };

export const emptyClient = (): Client => ({ text: "", place: { n: 0, offset: 0 }, restarts: [], ended: null });

/** One that holds `text` up to a place of the `n`th beginning. */
export const clientAt = (text: string, { n, offset }: Place): Client => ({
  ...emptyClient(),
  text: text.slice(0, offset),
  place: { n, offset },
});

/** Puts together what it is told, as any client does. */
export function tell(client: Client, events: readonly TurnEvent[]): Client {
  for (const event of events) {
    if (event.type === "delta") client.text += event.text;
    if (event.type === "restart") {
      client.text = "";
      client.restarts.push(event.reason);
    }
    if (event.type === "delta" || event.type === "restart") client.place = event.to;
    if (event.type === "ended") client.ended = event;
  }
  return client;
}

export type Reader = {
  /** As far as it has been told. */
  client: Client;
  /** All of it, in order. */
  events: TurnEvent[];
  /** Resolves when it is told nothing more. */
  done: Promise<Client>;
  leave(): void;
};

/** Follows a turn, from its start or from where a client has broken off. */
export function follow(deps: TurnDeps, turn: SeenTurn | LiveTurn, broken?: Client): Reader {
  const client = broken ?? emptyClient();
  const events: TurnEvent[] = [];
  const leaving = new AbortController();
  const from = broken ? broken.place : null;
  const done = (async () => {
    for await (const told of followTurn(deps, turn, { from, signal: leaving.signal })) {
      events.push(...told);
      tell(client, told);
    }
    return client;
  })();
  done.catch(() => {}); // the test may look at something else first
  return { client, events, done, leave: () => leaving.abort() };
}

const ADMIN = as("admin", "root");

/** The turn as somebody knows it who does not run it, and may see it. */
export const refTo = (turn: TurnRef, seenBy: Actor = ADMIN): SeenTurn => {
  const { turnId, conversationId, questionId, answerId, model } = turn;
  return { turnId, conversationId, questionId, answerId, model, seenBy };
};
