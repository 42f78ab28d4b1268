import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { cancelTurn } from "../../src/core/cancel.ts";
import { deleteConversation } from "../../src/core/conversation-deletion.ts";
import { endOf, outcomeOf, wholeAnswer } from "../../src/core/follow.ts";
import { drainTurns } from "../../src/core/launch.ts";
import { stopLive } from "../../src/core/live.ts";
import { sweepTurns } from "../../src/core/recovery.ts";
import { saveText } from "../../src/core/upkeep.ts";
import type { Db } from "../../src/db/db.ts";
import {
  type Instance,
  lapse,
  NOW,
  newConversation,
  openForTest,
  send,
  startInstance,
} from "../support/core-instance.ts";
import { answering, eventually, TARGET } from "../support/core-models.ts";
import { type Client, clientAt, follow, refTo } from "../support/core-readers.ts";
import { databases, open } from "../support/databases.ts";

const TEXT = "Hi 👋, I'm 👩‍👩‍👧 of 🇩🇪.";
const pieces = ["Hi ", "👋", ", I'm 👩‍👩‍👧", " of 🇩🇪."];

describe.each(databases)("following a turn on $database", ({ fresh }) => {
  let db: Db;
  let other: Db;
  let url: string;
  beforeAll(async () => {
    url = await fresh();
    db = await open(url);
    other = await open(url);
  });
  afterAll(() => Promise.all([db.close(), other.close()]));

  /** A turn whose model is held, with so much said. */
  async function given(said: readonly string[] = [], on = db) {
    const deps = startInstance(on);
    const conversation = await newConversation(on);
    const turn = await send(deps, conversation, "Who are you?");
    const call = await deps.models.call(1);
    for (const text of said) call.say(text);
    await eventually(() => expect(turn.progress.standing.text).toBe(said.join("")));
    return { deps, conversation, turn, call };
  }

  const ended = (status: string) => expect.objectContaining({ turn: expect.objectContaining({ status }) });

  describe("where it runs", () => {
    it("tells the text as it comes, each piece at once, and the end last", async () => {
      const { deps, turn, call } = await given();
      const { events, client, done } = follow(deps, turn);
      for (const [i, piece] of pieces.entries()) {
        call.say(piece);
        await eventually(() => expect(events).toHaveLength(i + 1));
        expect(events.at(-1)).toEqual({ type: "delta", text: piece, to: { n: 0, offset: client.text.length } });
      }
      call.end();
      await done;
      expect(events.slice(pieces.length)).toEqual([{ type: "ended", n: 0, ended: await turn.ended }]);
      expect(client.text).toBe(TEXT);
    });

    it("gives a hundred readers the same whole text, whenever they came, also those who came after the end", async () => {
      const { deps, turn, call } = await given();
      const readers = [follow(deps, turn)];
      for (const piece of pieces) {
        call.say(piece);
        await eventually(() => expect(turn.progress.standing.text).toContain(piece));
        for (let i = 0; i < 33; i++) readers.push(follow(deps, turn));
      }
      call.end();
      await turn.ended;
      readers.push(follow(deps, turn), follow(deps, refTo(turn)));
      for (const { text, ended } of await Promise.all(readers.map(({ done }) => done))) {
        expect(text).toBe(TEXT);
        expect(ended).toMatchObject({ type: "ended", n: 0, ended: { turn: { status: "completed" } } });
      }
    });

    it("goes on for the others and for the turn when a reader leaves; who left is told nothing more", async () => {
      const { deps, turn, call } = await given();
      const [leaver, stays] = [follow(deps, turn), follow(deps, turn)];
      call.say("Hi ");
      await eventually(() => expect(leaver.client.text).toBe("Hi "));
      leaver.leave();
      expect(call.signal.aborted).toBe(false);
      call.end("there");
      expect((await stays.done).text).toBe("Hi there");
      expect(await leaver.done).toMatchObject({ text: "Hi ", ended: null });
      expect(await wholeAnswer(deps, turn)).toMatchObject({ content: "Hi there" });
    });

    it("ends when all readers leave before the first word, and the turn is whole all the same", async () => {
      const { deps, turn, call } = await given();
      const readers = [follow(deps, turn), follow(deps, turn)];
      for (const { leave } of readers) leave();
      call.end(TEXT);
      expect(await wholeAnswer(deps, turn)).toMatchObject({ content: TEXT, model: TARGET });
      for (const { done } of readers) expect(await done).toMatchObject({ text: "", ended: null });
    });

    it("holds nothing back for a slow reader: it is given in one what came meanwhile", async () => {
      const { deps, turn, call } = await given();
      const { client, events, done } = follow(deps, turn);
      call.say("Hi");
      await eventually(() => expect(client.text).toBe("Hi"));
      for (const piece of pieces) call.say(piece); // all before it looks again
      call.end();
      await done;
      expect(events.filter(({ type }) => type === "delta").length).toBeLessThanOrEqual(1 + pieces.length);
      expect(client.text).toBe(`Hi${TEXT}`);
    });

    it("tells of a restart, and of the text anew", async () => {
      const { deps, turn, call } = await given(["A false sta"]);
      const { events, client, done } = follow(deps, turn);
      await eventually(() => expect(client.text).toBe("A false sta"));
      call.restart("timeout_idle");
      call.end(TEXT);
      expect(await done).toMatchObject({
        text: TEXT,
        restarts: ["timeout_idle"],
        place: { n: 1, offset: TEXT.length },
      });
      expect(events.at(-1)).toMatchObject({ type: "ended", n: 1, ended: { turn: { restarts: 1 }, content: TEXT } });
    });

    it("tells what it waits for: in line, then at the provider", async () => {
      const { deps, conversation, call } = await given();
      const second = await send(deps, conversation, "And you?");
      const { events, done } = follow(deps, second);
      await eventually(() => expect(events).toEqual([{ type: "status", status: "queued" }]));
      call.end("One");
      const next = await deps.models.call(2);
      next.status("starting");
      await eventually(() => expect(events.at(-1)).toEqual({ type: "status", status: "starting" }));
      next.end("Two");
      expect((await done).text).toBe("Two");
      expect(events.map(({ type }) => type)).toEqual(["status", "status", "delta", "ended"]);
    });

    it("tells no half answer where several were asked for: the first whole one, with the end", async () => {
      const deps = startInstance(db);
      const conversation = await newConversation(db);
      const turn = await send(deps, conversation, "Which?", { wanted: 2 });
      const { events, done } = follow(deps, turn);
      const calls = [await deps.models.call(1), await deps.models.call(2)] as const;
      calls[0].say("Half");
      calls[0].fail("provider_timeout");
      calls[1].end("Whole");
      expect((await done).text).toBe("Whole");
      expect(events.map(({ type }) => type)).toEqual(["delta", "ended"]);
    });
  });

  describe("from every offset gives the exact text", () => {
    const clients = (n: number, text = TEXT): Client[] =>
      Array.from({ length: text.length + 1 }, (_, offset) => clientAt(text, { n, offset }));

    it("while the rest is still being made", async () => {
      const { deps, turn, call } = await given(pieces.slice(0, 3));
      const readers = clients(0).map((client) => follow(deps, turn, client)); // some are ahead of the text
      call.end(pieces[3]);
      for (const { done } of readers) expect(await done).toMatchObject({ text: TEXT, restarts: [] });
    });

    it("after the end, in the same process, in another and after a restart of it", async () => {
      const { turn, call, deps } = await given();
      call.end(TEXT);
      await turn.ended;
      for (const later of [deps, startInstance(db), startInstance(other)]) {
        for (const client of clients(0)) {
          const { done, events } = follow(later, refTo(turn), client);
          expect(await done).toMatchObject({ text: TEXT, restarts: [], ended: { n: 0 } });
          expect(events.at(-1)).toMatchObject({ ended: { turn: { id: turn.turnId, status: "completed" } } });
        }
      }
    });

    it("of a turn that another instance runs, from what that has stored, ahead of it or not", async () => {
      const { deps, turn, call } = await given(pieces.slice(0, 3));
      const elsewhere = startInstance(other);
      const readers = clients(0).map((client) => follow(elsewhere, refTo(turn), client));
      await saveText(deps);
      const [fromStart] = readers;
      await eventually(() => expect(fromStart?.client.text).toBe(pieces.slice(0, 3).join("")));
      call.end(pieces[3]);
      for (const { done } of readers) expect(await done).toMatchObject({ text: TEXT, restarts: [] });
    });

    it("across a restart of the answer, where it ran, and in another instance", async () => {
      const { deps, turn, call } = await given(["A false start, and a long one"]);
      const before = clients(0, "A false start, and a long one");
      const elsewhere = startInstance(other);
      const live = before.map((client) => follow(deps, turn, { ...client, restarts: [] }));
      const rows = before.map((client) => follow(elsewhere, refTo(turn), { ...client, restarts: [] }));
      call.restart("stream_cut");
      call.say(pieces[0] ?? "");
      await eventually(() => expect(turn.progress.standing.n).toBe(1));
      await saveText(deps);
      call.end(pieces.slice(1).join(""));
      const after = before.map((client) => follow(elsewhere, refTo(turn), { ...client, restarts: [] }));
      for (const { done } of [...live, ...rows, ...after]) {
        const { text, place, restarts } = await done;
        expect(text).toBe(TEXT);
        expect(place).toEqual({ n: 1, offset: TEXT.length });
        expect(restarts).toHaveLength(1);
      }
    });

    it("of a swept turn is the text that was stored, anew, for who knew more and for who knew less", async () => {
      const own = await openForTest(await fresh());
      const { deps, turn, call } = await given(pieces.slice(0, 2), own);
      await saveText(deps);
      call.say("lost with the process");
      await lapse(own, turn);
      const next = startInstance(own);
      await sweepTurns(next);
      for (const client of clients(0, "Hi 👋lost")) {
        const { done } = follow(next, refTo(turn), client);
        expect(await done).toMatchObject({ text: "Hi 👋", restarts: ["interrupted"], place: { n: 1, offset: 5 } });
      }
    });
  });

  describe("is over for its readers, here and elsewhere,", () => {
    const both = (deps: Instance, turn: Parameters<typeof refTo>[0]) => [
      follow(deps, refTo(turn)),
      follow(startInstance(other), refTo(turn)),
    ];

    it("when it fails, with the text that is kept", async () => {
      const { deps, turn, call } = await given(["Half an"]);
      const readers = both(deps, turn);
      call.fail("provider_timeout");
      for (const { done } of readers) {
        expect(await done).toMatchObject({ text: "Half an", ended: { ended: ended("incomplete") } });
      }
    });

    it("when it is cancelled in line, without ever having run", async () => {
      const { deps, conversation } = await given();
      const waiting = await send(deps, conversation, "Me too");
      const readers = both(deps, waiting);
      await cancelTurn(deps, conversation.owner, waiting.turnId);
      for (const { done } of readers) {
        const { text, ended } = await done;
        expect(text).toBe("");
        expect(ended).toMatchObject({ ended: { turn: { status: "failed", error: { code: "turn_cancelled" } } } });
      }
    });

    it("when it is swept", async () => {
      const own = await openForTest(await fresh());
      const { turn } = await given([], own);
      const next = startInstance(own);
      const reader = follow(next, refTo(turn));
      await lapse(own, turn);
      await sweepTurns(next);
      expect(await reader.done).toMatchObject({
        text: "",
        ended: { ended: { turn: { status: "failed", restarts: 1, error: { code: "provider_failed" } } } },
      });
    });

    it("when its conversation is deleted: who reads where it runs keeps the text it has", async () => {
      const { deps, conversation, turn, call } = await given(["Half an"]);
      const [here, elsewhere] = both(deps, turn);
      const waiting = await send(deps, conversation, "Me too");
      const inLine = follow(deps, waiting);
      await eventually(() => expect(here?.client.text).toBe("Half an"));
      stopLive(deps.live, await deleteConversation(db, conversation.owner, { id: conversation.id, now: NOW }));
      expect(call.signal.aborted).toBe(true);
      const cancelled = { ended: { turn: { status: "failed", error: { code: "turn_cancelled" } } } };
      expect(await here?.done).toMatchObject({ text: "Half an", restarts: [], ended: cancelled });
      expect(await elsewhere?.done).toMatchObject({ text: "", ended: cancelled });
      expect(await inLine.done).toMatchObject({ text: "", ended: cancelled });
    });
  });

  it("a reader who leaves a silent turn of another instance costs nothing from then on", async () => {
    const { turn, call } = await given(["Hi"]);
    let looks = 0;
    const counted: Db = {
      ...other,
      all(...read) {
        looks++;
        return other.all(...read);
      },
    };
    const reader = follow(startInstance(counted), refTo(turn));
    await eventually(() => expect(looks).toBeGreaterThan(1));
    reader.leave();
    await reader.done;
    const before = looks;
    call.end();
    await turn.ended;
    expect(looks).toBe(before);
  });

  it("a process that leaves lets go the readers of turns that run elsewhere, and tells its own how they end", async () => {
    const { deps, turn, call } = await given(["Half an"]);
    const leaving = startInstance(other);
    const [its, foreign] = [follow(deps, turn), follow(leaving, refTo(turn))];
    await drainTurns(leaving.live, 0);
    expect(await foreign.done).toMatchObject({ ended: null });
    await drainTurns(deps.live, 0);
    expect(call.signal.aborted).toBe(true);
    expect(await its.done).toMatchObject({
      text: "Half an",
      ended: { ended: { turn: { status: "incomplete", error: { code: "provider_unavailable" } } } },
    });
  });

  it("a waiter elsewhere is given the same answer as one where the turn runs", async () => {
    const { deps, turn, call } = await given();
    const elsewhere = startInstance(other);
    const waiting = [outcomeOf(deps, turn), outcomeOf(elsewhere, refTo(turn))];
    call.end(TEXT);
    const [here, there] = await Promise.all(waiting);
    expect(there).toEqual(here);
    expect(await outcomeOf(startInstance(db, answering()), refTo(turn))).toEqual(here);
    expect((await endOf(elsewhere, refTo(turn))).turn).toMatchObject({ status: "completed", target: TARGET });
  });
});
