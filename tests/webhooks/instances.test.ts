import { describe, expect, it } from "vitest";
import { deleteConversation } from "../../src/core/conversation-deletion.ts";
import { NOW } from "../support/core-instance.ts";
import { freshPostgres } from "../support/databases.ts";
import { receiverForTest } from "../support/receiver.ts";
import { allTold, expectChain, newTalk, say, startTeller, type Talk, toldUpTo } from "../support/webhook-scene.ts";

describe("two instances on one Postgres", () => {
  it("tell the webhook of each change once, in order, whoever made it", async () => {
    const receiver = await receiverForTest();
    const url = await freshPostgres();
    const tellers = [await startTeller(url, receiver), await startTeller(url, receiver)] as const;
    const talks: Talk[] = await Promise.all(Array.from({ length: 10 }, (_, i) => newTalk(tellers[i % 2 ? 1 : 0])));
    await Promise.all(
      talks.map(async (talk, i) => {
        for (let n = 0; n < 12; n++) await say(tellers[(n + i) % 2 ? 1 : 0], talk, `${n}`);
      }),
    );
    await allTold(tellers[0].db);
    for (const { id } of talks) {
      const deliveries = receiver.of(id);
      expectChain(deliveries);
      const contents = deliveries.flatMap(({ json }) =>
        json.data.messages.map((one: { content: string }) => one.content),
      );
      expect(contents).toEqual(Array.from({ length: 12 }, (_, n) => `${n}`));
    }
    expect(tellers.flatMap(({ logged }) => logged)).toEqual([]);
  });

  it("tell it of each deletion once", async () => {
    const receiver = await receiverForTest();
    const url = await freshPostgres();
    const [one, other] = [await startTeller(url, receiver), await startTeller(url, receiver)];
    const talks = await Promise.all(Array.from({ length: 10 }, () => newTalk(one)));
    await allTold(one.db);
    await Promise.all(talks.map(({ id, owner }) => deleteConversation(other.db, owner, { id, now: NOW })));
    await allTold(other.db);
    for (const { id } of talks) {
      expect(receiver.of(id).map(({ json }) => json.type)).toEqual(["session.changed", "session.deleted"]);
    }
  });

  it("share what one of them has left: it is told by the other", async () => {
    const receiver = await receiverForTest();
    receiver.behave(() => ({ how: "hang" }));
    const url = await freshPostgres();
    const patience = { timeoutMs: 60_000, leaseMs: 120_000 }; // it is not told since a time has run out
    const leaving = await startTeller(url, receiver, patience);
    const talk = await newTalk(leaving);
    await expect.poll(receiver.open, { interval: 5 }).toBe(1);
    receiver.behave(() => ({}));
    const staying = await startTeller(url, receiver, patience);
    await leaving.stop(0);
    await toldUpTo(receiver, talk.id, 0);
    await allTold(staying.db);
  });
});
