import { eq } from "drizzle-orm";
import { beforeAll, describe, expect, it } from "vitest";
import { mintToken } from "../../src/http/tokens.ts";
import { type Called, SECRET } from "../support/app.ts";
import { databases } from "../support/databases.ts";
import { expectProblem, PATIENT } from "../support/http-expect.ts";
import { declares } from "../support/http-setup.ts";
import { type Asked, mayBeBusy, type Route, requestTo } from "../support/isolation-document.ts";
import { ID_NAMES, type Operation, operationIdOf, operations } from "../support/isolation-operations.ts";
import { somebody } from "../support/isolation-people.ts";
import { noRows } from "../support/isolation-rows.ts";
import { givenScene, said } from "../support/isolation-scene.ts";
import { useWorld } from "../support/isolation-world.ts";

const HOW = "say in tests/support/isolation-operations.ts what they are";
const idsOf = (...kinds: Operation["kind"][]) =>
  Object.keys(operations).filter((id) => kinds.includes(operations[id]?.kind as Operation["kind"]));

describe.each(databases)("whoever calls on $database", (database) => {
  const world = useWorld(database);
  let expired: string;
  beforeAll(async () => {
    expired = await mintToken(SECRET, { sub: "user-1", role: "user", expires: "-1h" });
  });

  const of = (id: string) => {
    const [operation, route] = [operations[id], world.routes.get(operationIdOf(id))];
    if (!operation || !route) throw new Error(`${id} is no operation`);
    return { operation, route };
  };
  const succeeds = (called: Called) =>
    expect(called, called.text).toMatchObject({ status: expect.toSatisfy(isSuccess) });
  const isSuccess = (status: number) => status >= 200 && status < 300;

  async function turnedAway(asked: Asked) {
    expectProblem(await world.call(null, asked), 401, "unauthorized");
    expectProblem(await world.withToken(expired, asked), 401, "unauthorized");
  }

  it("finds every operation classified here, and none that is not there", () => {
    const there = [...world.routes.keys()];
    const unclassified = there.filter((id) => !operations[id]);
    expect(unclassified, HOW).toEqual([]);
    const gone = Object.keys(operations).filter((id) => !there.includes(operationIdOf(id)));
    expect(gone, "these are gone").toEqual([]);
  });

  it("takes ids where the classification says so, each of a kind that is known", () => {
    for (const [id, { ids }] of world.routes) {
      const { kind, ids: own } = of(id).operation;
      if (kind === "public" || kind === "signed") continue;
      expect(ids.length > 0, `${id} ${kind}, and its ids do not fit; ${HOW}`).toBe(
        kind === "reaches" || kind === "calls",
      );
      const known = { ...ID_NAMES, ...own };
      for (const { name } of ids) expect(known, `of what ${name} of ${id} is an id; ${HOW}`).toHaveProperty(name);
    }
  });

  it.each(idsOf("public"))("is answered without a token, and no row is touched: %s", async (id) => {
    succeeds(await world.ask(null, of(id), {}));
  });

  it.each(idsOf("signed"))("is for nobody whose request is not signed, and no row is touched: %s", async (id) => {
    const asked = requestTo(of(id).route, of(id).operation, {});
    await turnedAway(asked);
    for (const role of ["user", "agent", "admin"] as const) {
      const token = await mintToken(SECRET, { sub: "any", role, expires: "1h" });
      expectProblem(await world.withToken(token, asked), 401, "unauthorized");
    }
  });

  it.each(idsOf("service"))("is answered with a token alone, and no row is touched: %s", async (id) => {
    const asked = requestTo(of(id).route, of(id).operation, {});
    await turnedAway(asked);
    succeeds(await world.withToken(await mintToken(SECRET, { sub: "any", role: "user", expires: "1h" }), asked));
  });

  describe.each(idsOf("reaches"))("reaches by an id: %s", (id) => {
    it.each([
      ["not live", false],
      ["live", true],
    ])(
      "somebody else's that is %s is found as little as what is not there, and nothing comes of it",
      async (_, live) => {
        const scene = await givenScene(world, of(id), { live });
        await scene.untouched(async () => {
          for (const stranger of scene.strangers) {
            for (const more of [{}, ...scene.route.manners]) await scene.notFound(stranger, { more });
          }
        });
      },
    );

    it("nobody reaches it by naming its owner, without a token, or with one that has expired", async () => {
      const scene = await givenScene(world, of(id), { live: false });
      await scene.untouched(async () => {
        for (const place of scene.route.names) {
          const named = { user: scene.owner.userId, in: place };
          expectProblem(await scene.ask(somebody(), { rows: scene.rows, named }), 403, "forbidden");
          await scene.notFound(somebody("agent"), { named });
        }
        await turnedAway(requestTo(scene.route, scene.operation, { rows: scene.rows }));
      });
    });

    it("who may does, and nobody else by the same Idempotency-Key", async () => {
      const { staff = false } = of(id).operation;
      const idle = world.provider.busy();
      const scene = await givenScene(world, of(id), { live: staff });
      const { owner, rows, route, operation, ask, strangers, untouched, notFound, settled } = scene;
      if (staff) await untouched(async () => expectProblem(await ask(owner, { rows }), 403, "forbidden"));
      const doer = staff ? somebody("agent") : owner;
      const isBusy = mayBeBusy(route, operation);
      if (isBusy) {
        const refused = await ask(owner, { rows, more: { if_busy: "reject" } });
        expectProblem(refused, 409, "conversation_busy");
      }
      const asking = { rows, more: isBusy ? { if_busy: "interrupt" } : {} };
      const first = await ask(doer, asking, "mine");
      succeeds(first);
      const told = await settled(first);
      await expect.poll(() => world.provider.busy(), PATIENT).toBe(idle); // what ran before was cancelled
      if (!route.takesKey) return;
      expect(await settled(await ask(doer, asking, "mine"))).toEqual(told);
      await untouched(async () => {
        for (const stranger of strangers) await notFound(stranger, { more: asking.more, key: "mine" });
      });
    });

    it("an agent does what it may where it is live", async () => {
      const scene = await givenScene(world, of(id), { live: true });
      const { rows, route, operation, ask, untouched, settled } = scene;
      const more = mayBeBusy(route, operation) ? { if_busy: "interrupt" } : {};
      const asAgent = () => ask(somebody("agent"), { rows, more });
      if (operation.agent !== "forbidden") {
        const done = await asAgent();
        succeeds(done);
        await settled(done);
      } else await untouched(async () => expectProblem(await asAgent(), 403, "forbidden"));
    });
  });

  describe.each(idsOf("calls"))("calls a row by an id, known or new: %s", (id) => {
    it("somebody else's is like what is not there: either makes a row of the caller's own, and the owner's stays", async () => {
      const { owner, rows, ask } = await givenScene(world, of(id), { live: false });
      const before = await world.shown(owner, rows);
      for (const who of [somebody(), somebody("agent")]) {
        const [foreign, unknown] = await each([rows, noRows()], (of) => ask(who, { rows: of }));
        for (const made of [foreign, unknown]) if (made) succeeds(made);
        expect(withoutIds(foreign)).toEqual(withoutIds(unknown));
      }
      expect(await world.shown(owner, rows)).toEqual(before);
    });

    it("one's own goes on, once for one Idempotency-Key; whoever else sends that gets a row of its own", async () => {
      const { owner, rows, ask } = await givenScene(world, of(id), { live: false });
      const asking = { rows, more: { if_busy: "interrupt" } };
      const first = await ask(owner, asking, "mine");
      succeeds(first);
      expect(first.json.conversation_id).toBe(rows.conversation);
      expect(said(await ask(owner, asking, "mine"))).toEqual(said(first));
      const other = await ask(somebody(), asking, "mine");
      succeeds(other);
      expect(other.json.conversation_id).not.toBe(rows.conversation);
    });

    it("nobody reaches it by naming its owner, without a token, or with one that has expired", async () => {
      const scene = await givenScene(world, of(id), { live: false });
      await scene.untouched(async () => {
        for (const place of scene.route.names) {
          const named = { user: scene.owner.userId, in: place };
          expectProblem(await scene.ask(somebody(), { rows: scene.rows, named }), 403, "forbidden");
          await scene.notFound(somebody("agent"), { named });
        }
        await turnedAway(requestTo(scene.route, scene.operation, { rows: scene.rows }));
      });
    });
  });

  /** Also what reaches for a row, where it makes one if no id is given. */
  const makes = (id: string) => {
    const { operation, route } = of(id);
    const mayMake = ["reaches", "calls"].includes(operation.kind) && route.ids.every(({ always }) => !always);
    return operation.kind === "makes" || mayMake;
  };

  it("makes of one key something for each who sends it, and nothing in the name of others", async () => {
    const making = Object.keys(operations).filter(makes);
    expect(making.length).toBeGreaterThan(3);
    for (const id of making) {
      const { route, operation } = of(id);
      const asked = requestTo(route, operation, {});
      await turnedAway(asked);
      const [owner, other] = [somebody(), somebody()];
      const made = await each([owner, other, somebody("agent")], (who) => world.ask(who, of(id), {}, "mine"));
      made.forEach(succeeds);
      const ids = made.flatMap((one) => [...new Set(uuidsOf(one))]);
      expect(new Set(ids).size, `${id} gave one id twice`).toBe(ids.length);
      for (const place of route.names) {
        const named = { user: owner.userId, in: place };
        expectProblem(await world.ask(other, of(id), { named }), 403, "forbidden");
      }
    }
  });

  it.each(idsOf("lists"))("lists nothing of others, and counts nothing: %s", async (id) => {
    const { route, operation } = of(id);
    const [owner, other, agent] = [somebody(), somebody(), somebody("agent")];
    const about = (user: string, place: Route["names"][number]) => ({ named: { user, in: place } });
    const look = async (named: string) => [
      said(await world.ask(other, of(id), {})),
      said(await world.ask(agent, of(id), {})),
      ...(await each(route.names, async (place) => said(await world.ask(agent, of(id), about(named, place))))),
    ];
    const empty = await world.ask(owner, of(id), {});
    const before = await look(somebody().userId);
    const rows = await world.given(owner, {});
    const full = await world.ask(owner, of(id), {});
    succeeds(full);
    expect(said(full)).not.toEqual(said(empty));
    const after = await look(owner.userId);
    expect(after).toEqual(before);
    for (const row of Object.values(rows)) expect(JSON.stringify(after)).not.toContain(row);
    await each(route.names, async (place) => {
      expectProblem(await world.ask(other, of(id), about(owner.userId, place)), 403, "forbidden");
    });
    await turnedAway(requestTo(route, operation, {}));
  });

  it.each(idsOf("operates"))("shows admins alone how the service is: %s", async (id) => {
    for (const who of [somebody(), somebody("agent")]) {
      expectProblem(await world.ask(who, of(id), {}), 403, "forbidden");
    }
    await turnedAway(requestTo(of(id).route, of(id).operation, {}));
    succeeds(await world.ask(somebody("admin"), of(id), {}));
  });

  it.each(idsOf("watches"))("shows agents alone what waits, and nothing that is not live: %s", async (id) => {
    const { route, operation } = of(id);
    const [owner, other, agent] = [somebody(), somebody(), somebody("agent")];
    const rows = await world.given(owner, { live: true, waits: true });
    const hidden = await world.given(owner, {});
    const { conversations: c } = world.db.tables;
    await world.db.update(c).set({ control: "queue", queuedAt: 1 }).where(eq(c.id, hidden.conversation));
    expectProblem(await world.ask(owner, of(id), {}), 403, "forbidden");
    await turnedAway(requestTo(route, operation, {}));
    const shown = await world.ask(agent, of(id), {});
    succeeds(shown);
    expect(uuidsOf(shown)).toContain(rows.conversation);
    expect(uuidsOf(shown)).not.toContain(hidden.conversation);
    const ofOther = await world.given(other, { live: true, waits: true });
    const narrowed = await world.ask(agent, of(id), { named: { user: other.userId, in: "query" } });
    expect(uuidsOf(narrowed)).toContain(ofOther.conversation);
    expect(uuidsOf(narrowed)).not.toContain(rows.conversation);
  });

  it("asked the database for nothing without saying who it was for", () => {
    expect(world.recorder.seen).toBeGreaterThan(500);
    expect([...new Set(world.recorder.unlawful)]).toEqual([]);
  });

  declares(world);
});

/** What a caller was told, beside all ids. */
const withoutIds = (called: Called | undefined) =>
  called && JSON.stringify(said(called)).replace(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, "an id");

const uuidsOf = ({ text }: Called): string[] => text.match(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g) ?? [];

async function each<T, R>(all: readonly T[], work: (one: T) => Promise<R>): Promise<R[]> {
  const done: R[] = [];
  for (const one of all) done.push(await work(one));
  return done;
}
