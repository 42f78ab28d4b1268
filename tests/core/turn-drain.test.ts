import { beforeEach, describe, expect, it } from "vitest";
import { wholeAnswer } from "../../src/core/follow.ts";
import { drainTurns } from "../../src/core/launch.ts";
import type { LiveTurn } from "../../src/core/live.ts";
import { sweepTurns } from "../../src/core/recovery.ts";
import type { Db } from "../../src/db/db.ts";
import {
  expectTrueCounts,
  type Instance,
  lapse,
  messagesOf,
  newConversation,
  openForTest,
  send,
  startInstance,
  turnRow,
} from "../support/core-instance.ts";
import { answering, eventually } from "../support/core-models.ts";
import { databases } from "../support/databases.ts";

describe.each(databases)("a process that stops, on $database,", ({ fresh }) => {
  let db: Db;
  beforeEach(async () => {
    db = await openForTest(await fresh());
  });

  /** A running turn with some text, and two behind it. */
  async function givenThree(deps: Instance) {
    const conversation = await newConversation(db);
    const running = await send(deps, conversation, "Question 0");
    const waiting = [await send(deps, conversation, "Question 1"), await send(deps, conversation, "Question 2")];
    const call = await deps.models.call(1);
    call.say("Half");
    return { conversation, running, waiting, call };
  }

  const codeOf = (deps: Instance, turn: LiveTurn) =>
    wholeAnswer(deps, turn).then(
      () => "completed",
      (error) => error.code,
    );

  it("has nothing to wait for when nothing runs", async () => {
    await drainTurns(startInstance(db, answering()).live, 60_000);
    const deps = startInstance(db, answering());
    await wholeAnswer(deps, await send(deps, await newConversation(db), "Hello"));
    await drainTurns(deps.live, 60_000);
    expect(deps.live.turns.size).toBe(0);
  });

  it("takes no more messages from the moment on, and stores nothing of them", async () => {
    const deps = startInstance(db);
    const { conversation, call } = await givenThree(deps);
    const before = await conversation.read();
    const drained = drainTurns(deps.live, 1);
    await expect(send(deps, conversation, "Too late")).rejects.toMatchObject({
      code: "provider_unavailable",
      details: { retryAfterS: 1 },
    });
    await drained;
    expect(call.signal.aborted).toBe(true);
    expect((await conversation.read()).openTurns).toBe(before.openTurns - 1);
    expect((await messagesOf(db, conversation.id)).map(({ content }) => content)).not.toContain("Too late");
  });

  it("waits for its turns, also for those in line, and stops none that end in time", async () => {
    const deps = startInstance(db);
    const { conversation, running, waiting, call } = await givenThree(deps);
    let done = false;
    const drained = drainTurns(deps.live, 60_000).then(() => {
      done = true;
    });
    call.end(" whole");
    (await deps.models.call(2)).end("Answer 1");
    const last = await deps.models.call(3);
    expect(done).toBe(false);
    last.end("Answer 2");
    await drained;
    for (const turn of [running, ...waiting]) {
      expect(await turnRow(db, turn)).toMatchObject({ status: "completed" });
    }
    expect(deps.models.calls.map(({ signal }) => signal.aborted)).toEqual([false, false, false]);
    await expectTrueCounts(db, conversation.id);
  });

  it("then stops the running turn: its text is kept, its provider let go", async () => {
    const deps = startInstance(db);
    const { conversation, running, call } = await givenThree(deps);
    await drainTurns(deps.live, 1);
    expect(call.signal.aborted).toBe(true);
    expect(await codeOf(deps, running)).toBe("provider_unavailable");
    expect(await turnRow(db, running)).toMatchObject({ status: "incomplete", leaseUntil: null });
    expect((await messagesOf(db, conversation.id))[1]).toMatchObject({ status: "incomplete", content: "Half" });
    expect(deps.live.turns.size).toBe(0);
  });

  it("leaves those in line in line, and tells who waits for them that the service is going", async () => {
    const deps = startInstance(db);
    const { conversation, waiting } = await givenThree(deps);
    const heard = Promise.all(waiting.map((turn) => codeOf(deps, turn)));
    await drainTurns(deps.live, 1);
    expect(await heard).toEqual(["provider_unavailable", "provider_unavailable"]);
    for (const turn of waiting) expect(await turnRow(db, turn)).toMatchObject({ status: "queued", error: null });
    expect(deps.models.calls).toHaveLength(1);
    await expectTrueCounts(db, conversation.id);
  });

  it("leaves those in line to whoever serves next", async () => {
    const deps = startInstance(db);
    const { conversation, waiting } = await givenThree(deps);
    await drainTurns(deps.live, 1);
    await lapse(db, ...waiting);
    const next = startInstance(db, answering());
    await sweepTurns(next);
    await eventually(async () => expect((await conversation.read()).openTurns).toBe(0));
    expect((await messagesOf(db, conversation.id)).map(({ content }) => content)).toEqual([
      "Question 0",
      "Half",
      "Question 1",
      "Answer to Question 1",
      "Question 2",
      "Answer to Question 2",
    ]);
  });
});
