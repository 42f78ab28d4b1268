import { describe, expect, it, onTestFinished } from "vitest";
import { watchQueue } from "../../src/core/queue.ts";
import type { Move } from "../../src/core/session-moves.ts";
import { changeSession } from "../../src/core/sessions.ts";
import type { Db } from "../../src/db/db.ts";
import { as, newConversation } from "../support/core-instance.ts";
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
  function watch({ db, bus, log }: Watching) {
    const leaving = new AbortController();
    onTestFinished(() => leaving.abort());
    const control = new Map<string, string>();
    const done = (async () => {
      for await (const sessions of watchQueue({ db, bus, log }, GRACE, { agentId: "grace", signal: leaving.signal })) {
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
    const all: Db["all"] = async (statement, values) => {
      if (failing) throw new Error("the database is away");
      return db.all(statement, values);
    };
    const [at, there] = [await startWatching({ ...db, all }), await startWatching(db)];
    const { control } = watch(at);
    const { id } = await newConversation(db);
    failing = true;
    await move(there, id, { to: "agent", agentId: null });
    at.bus.send({ type: "changed", conversationId: id });
    await eventually(() => expect(at.logged).not.toEqual([]));
    expect(control.has(id)).toBe(false);
    failing = false;
    await eventually(() => expect(control.get(id)).toBe("queue of null"));
  });
});
