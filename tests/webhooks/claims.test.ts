import { eq } from "drizzle-orm";
import { describe, expect, it } from "vitest";
import type { Db } from "../../src/db/db.ts";
import { createClaims } from "../../src/outbox/claims.ts";
import { deliver } from "../../src/outbox/deliver.ts";
import { WEBHOOK } from "../../src/outbox/ledger.ts";
import { PACE, type Pace } from "../../src/outbox/pace.ts";
import { webhookOutlet } from "../../src/webhooks/webhook.ts";
import { databases } from "../support/databases.ts";
import { useDatabase } from "../support/db-handles.ts";
import { nextId } from "../support/db-ids.ts";

/** A conversation that the webhook knows nothing of, and a process that tells of it when it is made to. */
async function given(db: Db) {
  const { conversations: c, deliveries: d } = db.tables;
  const id = nextId();
  await db.insert(c).values({ id, userId: "ada", rev: 1, told: -1, createdAt: 1, updatedAt: 1 });
  const posted: number[] = [];
  function tell(answer: Promise<number> = Promise.resolve(204), set: Partial<Pace> = {}) {
    const send = async ({ body }: { body: string }) => {
      posted.push(JSON.parse(body).data.rev);
      return { status: await answer, header: () => undefined, release: () => {} };
    };
    const endpoint = { url: "http://receiver", secret: Buffer.from("s"), send, clock: Date.now, userAgent: "parley" };
    const log = { error: () => {}, warn: () => {} };
    const outlet = webhookOutlet(db, endpoint, { ...PACE, ...set });
    return deliver({ db, claims: createClaims(WEBHOOK), outlet, log }, id, new AbortController());
  }
  return {
    tell,
    posted,
    change: (rev: number) => db.update(c).set({ rev }).where(eq(c.id, id)),
    /** Lets the time pass that a failed delivery waits. */
    wait: () => db.update(d).set({ retryAt: 1 }).where(eq(d.id, id)),
    lapse: () => db.update(d).set({ leaseUntil: 1 }).where(eq(d.id, id)),
    told: async () => (await db.select().from(c).where(eq(c.id, id)))[0]?.told,
    claims: () => db.select().from(d).where(eq(d.id, id)),
  };
}

describe.each(databases)("a claim to a conversation on $database", ({ fresh }) => {
  const handles = useDatabase(fresh);

  it("is one process's at a time, and leaves nothing behind", async () => {
    const { tell, posted, told, claims } = await given(handles.db);
    const gate = Promise.withResolvers<number>();
    const first = tell(gate.promise);
    await expect.poll(() => posted.length, { interval: 5 }).toBe(1);
    expect(await tell()).toEqual({ kind: "nothing" });
    gate.resolve(204);
    expect(await first).toEqual({ kind: "told", more: false });
    expect(await told()).toBe(1);
    expect(await claims()).toEqual([]);
    expect(await tell()).toEqual({ kind: "nothing" });
    expect(posted).toEqual([1]);
  });

  it("that has run out is another's, and what the first hears then counts for nothing", async () => {
    const { tell, posted, told, claims, change, lapse } = await given(handles.db);
    const gates = [Promise.withResolvers<number>(), Promise.withResolvers<number>()] as const;
    const slow = tell(gates[0].promise);
    await expect.poll(() => posted.length, { interval: 5 }).toBe(1);
    await lapse();
    await change(2);
    expect(await tell()).toEqual({ kind: "told", more: false });
    await change(3);
    const quick = tell(gates[1].promise);
    await expect.poll(() => posted.length, { interval: 5 }).toBe(3);
    gates[0].resolve(204);
    expect(await slow).toEqual({ kind: "told", more: true });
    expect(await told()).toBe(2);
    expect(await claims()).toHaveLength(1);
    gates[1].resolve(204);
    await quick;
    expect(await told()).toBe(3);
    expect(posted).toEqual([1, 2, 3]);
  });

  it("is held for longer as often as is asked for, until another has taken it", async () => {
    const { db } = handles;
    const claims = createClaims(WEBHOOK);
    const id = nextId();
    const first = await claims.take(db, id, 10_000);
    const second = first && (await claims.renew(db, first, 20_000));
    expect(second?.leaseUntil).toBeGreaterThan(first?.leaseUntil ?? Infinity);
    expect(first && (await claims.renew(db, first, 20_000))).toBeNull();
  });

  it("is not used where it may run out before a post is over", async () => {
    const { tell, posted } = await given(handles.db);
    expect(await tell(Promise.resolve(204), { leaseMs: 10_000, timeoutMs: 10_000 })).toEqual({ kind: "nothing" });
    expect(posted).toEqual([]);
  });

  it("that was given back after a failure is nobody's until its time has come, and remembers how often it failed", async () => {
    const { tell, posted, claims, change, wait } = await given(handles.db);
    const failed = { kind: "failed", reason: "status 500", retryAfterMs: null, rev: -1 };
    expect(await tell(Promise.resolve(500))).toEqual(failed);
    await change(2);
    expect(await tell()).toEqual({ kind: "nothing" });
    expect(await claims()).toMatchObject([{ attempts: 1, error: "status 500", leaseUntil: null }]);
    await wait();
    expect(await tell(Promise.resolve(500))).toEqual(failed);
    expect(await claims()).toMatchObject([{ attempts: 2 }]);
    await wait();
    expect(await tell()).toEqual({ kind: "told", more: false });
    expect(await claims()).toEqual([]);
    expect(posted).toEqual([1, 2, 2]);
  });

  it("has more to tell where the conversation has changed meanwhile", async () => {
    const { tell, posted, change } = await given(handles.db);
    const gate = Promise.withResolvers<number>();
    const first = tell(gate.promise);
    await expect.poll(() => posted.length, { interval: 5 }).toBe(1);
    await change(2);
    gate.resolve(204);
    expect(await first).toEqual({ kind: "told", more: true });
  });
});
