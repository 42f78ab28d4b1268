import { beforeEach, describe, expect, it } from "vitest";
import { sweepTurns } from "../../src/core/recovery.ts";
import { readTrace } from "../../src/core/trace.ts";
import type { Db } from "../../src/db/db.ts";
import { lapse, newConversation, openForTest, send, startInstance } from "../support/core-instance.ts";
import { answering } from "../support/core-models.ts";
import { databases } from "../support/databases.ts";

const traceOf = (digit: string) => readTrace(`00-${digit.repeat(32)}-${digit.repeat(16)}-01`, undefined);

describe("a turn", () => {
  let db: Db;
  beforeEach(async () => {
    db = await openForTest(await databases[0].fresh());
  });

  it("goes on in the trace of the request that began it, in line too", async () => {
    const process = startInstance(db);
    const conversation = await newConversation(db);
    const [one, other] = [traceOf("1"), traceOf("2")];
    await send(process, conversation, "Now", { trace: one });
    const turn = await send(process, conversation, "Later", { trace: other });
    (await process.models.call(1)).end("Yes");
    (await process.models.call(2)).end("Yes");
    await turn.ended;
    expect(process.models.calls.map(({ plan }) => plan.trace)).toEqual([one, other]);
  });

  it("has none any more when another process has to answer it", async () => {
    const [dead, next] = [startInstance(db), startInstance(db, answering())];
    const conversation = await newConversation(db);
    const running = await send(dead, conversation, "Now");
    await dead.models.call(1);
    const waiting = await send(dead, conversation, "Later", { trace: traceOf("1") });
    await lapse(db, running, waiting);
    await sweepTurns(next);
    expect((await next.models.call(1)).plan.trace).toBeUndefined();
  });
});
