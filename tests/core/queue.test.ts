import { describe, expect, it, onTestFinished } from "vitest";
import { sessionRow } from "../../src/core/changes.ts";
import type { Desks } from "../../src/core/desks.ts";
import { watchQueue } from "../../src/core/queue.ts";
import type { Move } from "../../src/core/session-moves.ts";
import { changeSession } from "../../src/core/sessions.ts";
import type { Db } from "../../src/db/db.ts";
import { isInScope } from "../../src/db/scope.ts";
import { as, change, newConversation } from "../support/core-instance.ts";
import { eventually } from "../support/core-models.ts";
import { ROOT, startWatching, type Watching } from "../support/core-watch.ts";
import { databases } from "../support/databases.ts";
import { openBoth } from "../support/db-handles.ts";

const GRACE = as("agent", "grace");

describe.each(databases)("what an agent has before it, on $database", ({ fresh }) => {
  let db: Db;
  let other: Db;
  openBoth(fresh, (handles) => ({ db, other } = handles));

  const move = (at: Watching, id: string, to: Move) => changeSession(at, ROOT, { id, move: to });

  /** Who is in control of each session, as it was told last. */
  function watch({ db, desks, log }: Pick<Watching, "db" | "desks" | "log">, actor = GRACE, agentId = actor.self) {
    const leaving = new AbortController();
    onTestFinished(() => leaving.abort());
    const control = new Map<string, string>();
    const done = (async () => {
      for await (const sessions of watchQueue({ db, desks, log }, actor, { agentId, signal: leaving.signal })) {
        for (const session of sessions) control.set(session.id, `${session.control} of ${session.agentId}`);
      }
    })();
    return { control, done, leave: () => leaving.abort() };
  }

  it("is told at first as it stands, then as it changes, also by others without a note, until it leaves", async () => {
    const [at, there] = [await startWatching(db), await startWatching({ ...other, carrier: null })];
    const [early, late, busy] = [await newConversation(db), await newConversation(db), await newConversation(db)];
    await move(at, early.id, { to: "agent", agentId: null });
    await move(at, busy.id, { to: "agent", agentId: "somebody else" });
    const { control, done, leave } = watch(at);
    await eventually(() => expect(control.get(early.id)).toBe("queue of null"));
    await move(there, late.id, { to: "agent", agentId: "grace" });
    await eventually(() => expect(control.get(late.id)).toBe("agent of grace"));
    await move(there, early.id, { to: "accept", agentId: "somebody else" });
    await eventually(() => expect(control.get(early.id)).toBe("agent of somebody else"));
    await move(at, busy.id, { to: "agent", agentId: null });
    await eventually(() => expect(control.get(busy.id)).toBe("queue of null"));
    leave();
    await done;
  });

  it("is told what it missed while the database was away", async () => {
    let failing = false;
    const unlessAway = () => {
      if (failing) throw new Error("the database is away");
    };
    const at = await startWatching(heeding(db, unlessAway));
    const there = await startWatching(db);
    const { control } = watch(at);
    const { id } = await newConversation(db);
    const here = await newConversation(db);
    await move(there, here.id, { to: "agent", agentId: null });
    await eventually(() => expect(control.get(here.id)).toBe("queue of null"));
    failing = true;
    await move(there, id, { to: "agent", agentId: null });
    at.bus.send({ type: "changed", conversationId: id });
    await eventually(() => expect(at.logged).not.toEqual([]));
    expect(control.has(id)).toBe(false);
    failing = false;
    await eventually(() => expect(control.get(id)).toBe("queue of null"));
  });

  it("is told as it stands once it can be read", async () => {
    let failing = true;
    const unlessAway = () => {
      if (failing) throw new Error("the database is away");
    };
    const at = await startWatching(heeding(db, unlessAway));
    const { id } = await newConversation(db);
    await move(await startWatching(db), id, { to: "agent", agentId: null });
    const { control } = watch(at);
    await eventually(() => expect(at.logged).not.toEqual([]));
    failing = false;
    await eventually(() => expect(control.get(id)).toBe("queue of null"));
  });

  it("is read once for all who watch", async () => {
    let reads = 0;
    const at = await startWatching(heeding(db, () => void reads++));
    const { id } = await newConversation(db);
    await move(at, id, { to: "agent", agentId: null });
    const watchers = Array.from({ length: 100 }, (_, i) => watch(at, as("agent", `agent ${i}`)));
    const told = (what: string) =>
      eventually(() => {
        for (const { control } of watchers) expect(control.get(id)).toBe(what);
      });
    await told("queue of null");
    reads = 0;
    await move(at, id, { to: "agent", agentId: "agent 7" });
    await told("agent of agent 7");
    expect(reads).toBeLessThan(watchers.length / 2);
  });

  it("is told of nothing that is out of its scope, also where another is told of it", async () => {
    const at = await startWatching(db);
    const [own, foreign] = [await newConversation(db), await newConversation(db)];
    const all = watch(at, ROOT, "grace");
    const named = watch(at, as("admin", "root", own.owner.self), "grace");
    const agent = watch(at);
    for (const { id } of [foreign, own]) await move(at, id, { to: "agent", agentId: null });
    await eventually(() => {
      for (const { control } of [all, named, agent]) expect(control.get(own.id)).toBe("queue of null");
      for (const { control } of [all, agent]) expect(control.get(foreign.id)).toBe("queue of null");
    });
    await change(db, foreign.id, { isLive: false }); // as older databases may have it
    for (const { id } of [foreign, own]) await move(at, id, { to: "agent", agentId: "grace" });
    await eventually(() => {
      for (const { control } of [all, named, agent]) expect(control.get(own.id)).toBe("agent of grace");
    });
    expect(named.control.has(foreign.id)).toBe(false);
  });

  it("ends for a reader that takes nothing while too much changes", async () => {
    const row = await (await newConversation(db)).read();
    const heard = Promise.withResolvers<Parameters<Desks["join"]>[0]["hear"]>();
    const join: Desks["join"] = (desk) => {
      heard.resolve(desk.hear);
      return { begin: () => {}, leave: () => {} };
    };
    const { done } = watch({
      db,
      desks: { join, stop: () => {} },
      log: { info: () => {}, warn: () => {}, error: () => {} },
    });
    const hear = await heard.promise;
    for (let i = 0; i <= 1_000; i++) hear({ ...row, id: `session ${i}` });
    await done;
  });
});

describe.each(databases)("the scope of a row on $database", ({ fresh }) => {
  let db: Db;
  openBoth(fresh, (handles) => ({ db } = handles));

  it("is the same where it is at hand as in a query", async () => {
    const rows = [await newConversation(db), await newConversation(db, { isLive: true })];
    const people = [...rows.map(({ owner }) => owner.self), "somebody else"];
    for (const self of people) {
      for (const sees of ["own", "live", "all"] as const) {
        for (const owner of [null, ...people]) {
          for (const { id, read } of rows) {
            const scope = { self, sees, owner };
            expect({ scope, seen: isInScope(await read(), scope) }).toEqual({
              scope,
              seen: (await sessionRow(db, scope, id)) !== undefined,
            });
          }
        }
      }
    }
  });
});

/** The same database, whose readings are told of before they begin. */
const heeding = (db: Db, before: () => void): Db => ({
  ...db,
  all: async (statement, values) => {
    before();
    return db.all(statement, values);
  },
  select: ((...fields: []) => {
    before();
    return db.select(...fields);
  }) as Db["select"],
});
