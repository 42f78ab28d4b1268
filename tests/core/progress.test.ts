import { describe, expect, it } from "vitest";
import type { Ended, TurnState } from "../../src/core/live.ts";
import { createProgress, eventsSince, type Standing, type Told } from "../../src/core/progress.ts";
import { randomFrom } from "../support/core-random.ts";
import { clientAt, emptyClient, tell } from "../support/core-readers.ts";

const TEXT = "Hi 👋, I'm 👩‍👩‍👧 of 🇩🇪.\n\nÄ\u{1F600}";
const END = { turn: { status: "completed" } as TurnState, content: TEXT, alternatives: [] } satisfies Ended;

const standing = (set: Partial<Standing> = {}): Standing => ({
  n: 0,
  text: TEXT,
  reason: null,
  status: null,
  ended: null,
  ...set,
});
const told = (n: number, offset: number): Told => ({ n, offset, status: null });
const offsets = Array.from({ length: TEXT.length + 1 }, (_, offset) => offset);

describe("what a reader is still to be told", () => {
  it("from every offset of a text is the rest of it, to the unit, emoji and all", () => {
    for (const offset of offsets) {
      const { events, told: now } = eventsSince(told(0, offset), standing());
      const rest = { type: "delta", text: TEXT.slice(offset), to: { n: 0, offset: TEXT.length } };
      expect(events).toEqual(offset < TEXT.length ? [rest] : []);
      expect(tell(clientAt(TEXT, { n: 0, offset }), events).text).toBe(TEXT);
      expect(now).toEqual(told(0, TEXT.length));
    }
  });

  it("after the end is the rest and the end, from every offset; the end comes last and alone where nothing is left", () => {
    for (const offset of offsets) {
      const { events } = eventsSince(told(0, offset), standing({ ended: END }));
      expect(events.at(-1)).toEqual({ type: "ended", n: 0, ended: END });
      expect(events).toHaveLength(offset < TEXT.length ? 2 : 1);
      expect(tell(clientAt(TEXT, { n: 0, offset }), events).text).toBe(TEXT);
    }
  });

  it("of a long text comes in pieces that hold little, cut no character in half, and end with the end", () => {
    const text = `x${"👋".repeat(100_000)}`;
    const ended = { ...END, content: text };
    let client = emptyClient();
    let now = told(0, 0);
    for (let looks = 1; ; looks++) {
      const news = eventsSince(now, standing({ text, ended }));
      client = tell(client, news.events);
      now = news.told;
      const [first] = news.events;
      if (first?.type !== "delta") throw new Error("there is text left");
      expect(first.text.length).toBeLessThanOrEqual(65_536);
      expect(first.text.isWellFormed()).toBe(true);
      if (news.events.at(-1)?.type === "ended") break;
      expect(looks).toBeLessThan(10);
    }
    expect(client.text).toBe(text);
  });

  it("is nothing where it knows all that there is", () => {
    const { events, told: now } = eventsSince(told(0, TEXT.length), standing());
    expect(events).toEqual([]);
    expect(now).toEqual(told(0, TEXT.length));
    expect(eventsSince(told(0, 0), standing({ text: "" })).events).toEqual([]);
  });

  it("of an answer that began anew is a restart with its reason, and its text from 0, whatever it knew", () => {
    for (const [n, offset] of [
      [0, 0],
      [0, 5],
      [0, 999],
      [1, 5],
      [3, 0],
      [3, 5],
    ] as const) {
      const { events, told: now } = eventsSince(told(n, offset), standing({ n: 2, reason: "timeout_idle" }));
      expect(events).toEqual([
        { type: "restart", reason: "timeout_idle", to: { n: 2, offset: 0 } },
        { type: "delta", text: TEXT, to: { n: 2, offset: TEXT.length } },
      ]);
      expect(now).toEqual(told(2, TEXT.length));
    }
  });

  it("of one that began anew and has no text yet is the restart alone, once", () => {
    const anew = standing({ n: 1, text: "", reason: "stream_cut" });
    const { events, told: now } = eventsSince(told(0, 7), anew);
    expect(events).toEqual([{ type: "restart", reason: "stream_cut", to: { n: 1, offset: 0 } }]);
    expect(eventsSince(now, anew).events).toEqual([]);
  });

  it("says of a restart that it was interrupted where nobody knows why", () => {
    const { events } = eventsSince(told(0, 7), standing({ n: 1, ended: END }));
    expect(events[0]).toEqual({ type: "restart", reason: "interrupted", to: { n: 1, offset: 0 } });
  });

  it("is nothing while it is ahead of a text that grows, and goes on from where it was when the text has come so far", () => {
    const ahead = told(0, 10);
    for (let length = 0; length < 10; length++) {
      const short = standing({ text: TEXT.slice(0, length) });
      expect(eventsSince(ahead, short)).toEqual({ events: [], told: ahead });
    }
    expect(eventsSince(ahead, standing({ text: TEXT.slice(0, 10) })).events).toEqual([]);
    const { events } = eventsSince(ahead, standing({ text: TEXT.slice(0, 14) }));
    expect(events).toEqual([{ type: "delta", text: TEXT.slice(10, 14), to: { n: 0, offset: 14 } }]);
  });

  it("is a restart and all the text where it is past a text that has ended", () => {
    const { events } = eventsSince(told(0, TEXT.length + 1), standing({ ended: END }));
    expect(events).toEqual([
      { type: "restart", reason: "interrupted", to: { n: 0, offset: 0 } },
      { type: "delta", text: TEXT, to: { n: 0, offset: TEXT.length } },
      { type: "ended", n: 0, ended: END },
    ]);
    const nothing = eventsSince(told(0, 1), standing({ text: "", ended: END })).events;
    expect(nothing.map(({ type }) => type)).toEqual(["restart", "ended"]);
  });

  it("says what the turn waits for once, again when it waits for something else, and never with the end", () => {
    const queued = standing({ text: "", status: "queued" });
    const first = eventsSince(told(0, 0), queued);
    expect(first.events).toEqual([{ type: "status", status: "queued" }]);
    expect(eventsSince(first.told, queued).events).toEqual([]);
    const starting = eventsSince(first.told, { ...queued, status: "starting" });
    expect(starting.events).toEqual([{ type: "status", status: "starting" }]);
    expect(eventsSince(starting.told, standing({ status: null })).events.map(({ type }) => type)).toEqual(["delta"]);
    expect(eventsSince(told(0, 0), { ...queued, ended: END }).events.map(({ type }) => type)).toEqual(["ended"]);
  });

  it("makes the exact text for any reader of any answer, however it grows, begins anew and is looked at", () => {
    const random = randomFrom(7);
    for (let run = 0; run < 300; run++) {
      const progress = createProgress(null);
      const clients = Array.from({ length: 3 }, emptyClient);
      const knows = clients.map((): Told => told(0, 0));
      const look = (i: number) => {
        const news = eventsSince(knows[i] ?? told(0, 0), progress.standing);
        knows[i] = news.told;
        tell(clients[i] ?? emptyClient(), news.events);
      };
      for (let step = 0; step < 20; step++) {
        const { n, text } = progress.standing;
        if (random(8) === 0) progress.change({ n: n + 1, text: "", reason: "stream_cut" });
        else progress.change({ text: text + ["a", "👋", "\n", "🇩🇪"][random(4)] });
        look(random(3));
      }
      progress.change({ ended: END });
      for (const i of clients.keys()) look(i);
      for (const client of clients) {
        expect(client.text).toBe(progress.standing.text);
        expect(client.place).toEqual({ n: progress.standing.n, offset: progress.standing.text.length });
        expect(client.ended).toMatchObject({ type: "ended", n: progress.standing.n });
      }
    }
  });
});

describe("a change", () => {
  it("is heard by all who wait for it, and by nobody twice", async () => {
    const progress = createProgress("queued");
    expect(progress.standing).toEqual({ n: 0, text: "", reason: null, status: "queued", ended: null });
    const heard: string[] = [];
    const waiting = ["a", "b"].map((who) => progress.changed().then(() => heard.push(who)));
    progress.change({ text: "x" });
    await Promise.all(waiting);
    const next = progress.changed().then(() => heard.push("c"));
    await Promise.resolve();
    expect(heard).toEqual(["a", "b"]);
    progress.change({});
    await next;
    expect(heard).toEqual(["a", "b", "c"]);
  });
});
