import { eq } from "drizzle-orm";
import { it } from "vitest";
import { open } from "../support/databases.ts";
import { PATIENT } from "../support/http-expect.ts";
import { providerForTest, serviceForTest, worlds } from "../support/http-worlds.ts";
import { startReceiver, verifies } from "../support/receiver.ts";
import { allTold, SECRET } from "../support/webhook-scene.ts";

it.concurrent.for(worlds)(
  "$runtime with $database, killed while it tells the webhook, tells it again, and ends in time while it is not answered",
  async ({ runtime, fresh }, test) => {
    const { expect, onTestFinished } = test;
    const receiver = await startReceiver();
    onTestFinished(() => receiver.close());
    const url = await fresh();
    const provider = await providerForTest(test);
    const env = { WEBHOOK_URL: receiver.url, WEBHOOK_SECRET: SECRET };
    const start = () => serviceForTest(test, { runtime, url, provider, env });

    const first = await start();
    receiver.behave(() => ({ status: 307, headers: { location: "/elsewhere" } }));
    const refused: string = (await first.call("POST", "/chats", {})).json.id;
    await expect.poll(() => first.logged.join(), PATIENT).toContain("status 307");
    receiver.behave(({ about }) => (about === refused ? { status: 500 } : { how: "hang" }));
    const hanging: string = (await first.call("POST", "/chats", {})).json.id;
    await expect.poll(() => receiver.of(hanging).length, PATIENT).toBe(1);
    await first.end("SIGKILL");

    const db = await open(url);
    onTestFinished(() => db.close());
    const { deliveries: d } = db.tables;
    const rows = new Map((await db.select().from(d)).map((row) => [row.id, row]));
    expect(rows.get(refused)).toMatchObject({ attempts: expect.any(Number), retryAt: expect.any(Number) });
    expect(rows.get(hanging)).toMatchObject({ attempts: 0, leaseUntil: expect.any(Number) });
    const { conversations: c } = db.tables;
    await db.update(c).set({ rev: 1, title: "Renamed meanwhile" }).where(eq(c.id, refused));
    await db.update(d).set({ leaseUntil: 1 }).where(eq(d.id, hanging)); // the time that its claim takes to run out

    receiver.behave(() => ({}));
    const second = await start();
    await allTold(db);
    for (const id of [refused, hanging]) {
      expect(new Set(receiver.of(id).map(({ json }) => json.data.after))).toEqual(new Set([-1]));
      for (const delivery of receiver.of(id)) expect(await verifies(SECRET, delivery)).toBe(true);
    }
    expect(receiver.of(refused).at(-1)?.json.data).toMatchObject({ rev: 1, session: { title: "Renamed meanwhile" } });
    const [before, after] = receiver.of(hanging);
    expect(after?.headers["webhook-id"]).toBe(before?.headers["webhook-id"]);
    expect(receiver.received.map(({ path }) => path)).not.toContain("/elsewhere");

    receiver.behave(() => ({ how: "hang" }));
    await second.call("POST", "/chats", {});
    await expect.poll(receiver.open, PATIENT).toBe(1);
    expect(await second.end("SIGTERM")).toBe(0);
    expect(await db.select().from(d)).toMatchObject([{ leaseUntil: null, attempts: 0 }]);
  },
);
