import { beforeEach, describe, expect, it } from "vitest";
import { invalid } from "../../src/core/errors.ts";
import { wholeAnswer } from "../../src/core/follow.ts";
import type { LiveTurn } from "../../src/core/live.ts";
import { sweepTurns } from "../../src/core/recovery.ts";
import { renewLeases } from "../../src/core/upkeep.ts";
import type { Db } from "../../src/db/db.ts";
import {
  expectTrueCounts,
  lapse,
  messagesOf,
  openForTest,
  send,
  startInstance,
  turnRow,
} from "../support/core-instance.ts";
import { givenLine } from "../support/core-line.ts";
import { answering, answerTo, eventually } from "../support/core-models.ts";
import { databases } from "../support/databases.ts";

describe.each(databases)("on $database a turn in line", ({ fresh }) => {
  let db: Db;
  beforeEach(async () => {
    db = await openForTest(await fresh());
  });

  const completed = (turn: LiveTurn) =>
    eventually(async () => expect(await turnRow(db, turn)).toMatchObject({ status: "completed" }));

  describe("whose process died", () => {
    it("is answered by the process that sweeps, as its own", async () => {
      const { conversation, running, line, kill } = await givenLine(db, 1);
      await kill();
      await sweepTurns(startInstance(db, answering()));
      const [turn] = line as [LiveTurn];
      await completed(turn);
      expect(await turnRow(db, running)).toMatchObject({ status: "failed", restarts: 1 });
      expect(await turnRow(db, turn)).toMatchObject({ restarts: 0, leaseUntil: null, error: null });
      expect((await messagesOf(db, conversation.id)).map(({ content }) => content)).toEqual([
        "Question 0",
        "",
        "Question 1",
        answerTo("Question 0\n\nQuestion 1"),
      ]);
      await expectTrueCounts(db, conversation.id);
    });

    it("is answered in its order, in whatever order the sweep meets the line", async () => {
      const { conversation, line, kill } = await givenLine(db, 3);
      await kill();
      const next = startInstance(db, answering());
      await sweepTurns(next);
      for (const turn of line) await completed(turn);
      expect(next.models.calls.map(({ question }) => question)).toEqual([
        "Question 0\n\nQuestion 1",
        "Question 2",
        "Question 3",
      ]);
      await expectTrueCounts(db, conversation.id);
    });

    it("is answered before a later message that the sweeping process already holds", async () => {
      const { conversation, line, kill } = await givenLine(db, 1);
      const next = startInstance(db, answering());
      const later = await send(next, conversation, "Question 2");
      await kill();
      await sweepTurns(next);
      for (const turn of [...line, later]) await completed(turn);
      expect(next.models.calls.map(({ question }) => question)).toEqual(["Question 0\n\nQuestion 1", "Question 2"]);
      await expectTrueCounts(db, conversation.id);
    });

    it("is answered by the default model where the one that was asked for is no longer there", async () => {
      const { line, kill } = await givenLine(db, 1, "other");
      await kill();
      const models = answering();
      const plan = (model?: string) => (model === "other" ? gone() : models.plan(model));
      await sweepTurns(startInstance(db, { ...models, plan }));
      const [turn] = line as [LiveTurn];
      await completed(turn);
      expect(models.calls[0]?.plan.model).toBe("balanced");
      expect(await turnRow(db, turn)).toMatchObject({ model: "other" });
    });

    it("keeps no other turn from being swept where no model can be had for it", async () => {
      const [first, second] = [await givenLine(db, 1), await givenLine(db, 0)];
      await first.kill();
      await second.kill();
      await lapse(db, first.running, ...first.line, second.running); // the line in the middle
      await sweepTurns(startInstance(db, { ...answering(), plan: gone })).catch(() => {});
      for (const { running } of [first, second]) {
        expect(await turnRow(db, running)).toMatchObject({ status: "failed", restarts: 1 });
      }
    });
  });

  describe("whose lease ran out though its process lives", () => {
    it("is held by a lease of the process that took it, and is taken once", async () => {
      const { line } = await givenLine(db, 1);
      const [turn] = line as [LiveTurn];
      await lapse(db, turn);
      const others = [startInstance(db), startInstance(db)];
      await Promise.all(others.map(sweepTurns));
      expect(others.map(({ live }) => live.turns.size).toSorted()).toEqual([0, 1]);
      expect(await turnRow(db, turn)).toMatchObject({ status: "queued" });
      expect((await turnRow(db, turn)).leaseUntil).toBeGreaterThan(Date.now());
    });

    it("waits for the turn that still runs, and is run by one process only", async () => {
      const { process, line, call } = await givenLine(db, 1);
      const [turn] = line as [LiveTurn];
      await lapse(db, turn);
      await sweepTurns(startInstance(db, process.models));
      expect(process.models.calls).toHaveLength(1);
      call.end("Answer 0");
      (await process.models.call(2)).end("Answer 1");
      await completed(turn);
      expect(process.models.calls).toHaveLength(2);
    });

    it("is waited for until whoever took it has answered it", async () => {
      let looks = 0;
      const watched: Db = {
        ...db,
        all(...read) {
          looks++;
          return db.all(...read);
        },
      };
      const { process, running, line, call } = await givenLine(watched, 1);
      const [turn] = line as [LiveTurn];
      const heard = wholeAnswer(process, turn);
      heard.catch(() => {});
      await lapse(db, running, turn);
      await sweepTurns(startInstance(db, process.models));
      const taken = await process.models.call(2);
      call.end("Too late");
      await running.ended;
      const before = looks;
      await eventually(() => expect(looks).toBeGreaterThan(before));
      taken.end("In time");
      expect(await heard).toMatchObject({ content: "In time" });
    });

    it("is swept when the process that took it dies too, though the first still waits for it", async () => {
      const { process, running, line } = await givenLine(db, 1);
      const [turn] = line as [LiveTurn];
      const heard = wholeAnswer(process, turn).catch((error: unknown) => error);
      await lapse(db, running, turn);
      await sweepTurns(startInstance(db, process.models));
      await process.models.call(2);
      await lapse(db, turn);
      await renewLeases(process);
      await sweepTurns(startInstance(db));
      expect(await turnRow(db, turn)).toMatchObject({ status: "failed", restarts: 1 });
      expect(await heard).toMatchObject({ code: "provider_failed", details: { turnId: turn.turnId } });
    });

    it("ends for those who still wait as it was stored, when another has answered it meanwhile", async () => {
      const { process, running, line, call } = await givenLine(db, 1);
      const [turn] = line as [LiveTurn];
      const heard = wholeAnswer(process, turn);
      await lapse(db, running, turn);
      await sweepTurns(startInstance(db, process.models));
      (await process.models.call(2)).end("In time");
      await completed(turn);
      call.end("Too late");
      expect(await heard).toMatchObject({ content: "In time" });
      expect(process.models.calls).toHaveLength(2);
    });
  });
});

function gone(): never {
  throw invalid("model", "must be another");
}
