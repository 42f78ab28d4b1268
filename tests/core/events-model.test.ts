import { describe, expect, it, onTestFinished } from "vitest";
import { changeSession } from "../../src/core/sessions.ts";
import { startUpkeep } from "../../src/core/upkeep.ts";
import type { Db } from "../../src/db/db.ts";
import { newConversation, openForTest } from "../support/core-instance.ts";
import { eventually } from "../support/core-models.ts";
import { randomFrom } from "../support/core-random.ts";
import { ROOT, startWatching, type Watching, watch } from "../support/core-watch.ts";
import { databases } from "../support/databases.ts";
import { type Said, talkative, write } from "../support/session-traffic.ts";
import { copyOf, emptyView, shownAfresh, shownBy, type View } from "../support/session-view.ts";

const RECONNECTS = 100;
const WRITERS = 4;

describe.each(databases)("a reader that comes again a hundred times, on $database", ({ database, fresh }) => {
  it.each([1, 2])("holds what a fresh one is shown, whatever was written (%i)", async (seed) => {
    const url = await fresh();
    const dbs: Db[] = [await openForTest(url), await openForTest(url)];
    const random = randomFrom(seed);
    const said: Said = new Map();
    // On SQLite other processes see changes by looking alone, which takes its time.
    const processes: Watching[] = [];
    for (const db of database === "Postgres" ? dbs : dbs.slice(0, 1)) {
      processes.push(await startWatching(db, talkative(random, said)));
    }
    for (const process of processes) onTestFinished(await startUpkeep(process));
    const { id } = await newConversation(dbs[0] as Db);

    let isEnough = false;
    const writing = Promise.all(
      Array.from({ length: WRITERS }, (_, i) =>
        write(processes[i % processes.length] as Watching, id, { random, isEnough: () => isEnough }),
      ),
    );

    const views: View[] = [emptyView()];
    const all: View[] = [];
    for (let i = 0; i < RECONNECTS; i++) {
      // As a rule from where it was; at times from where it was earlier, as one does whose newest was never stored.
      const view = copyOf(views[random(4) > 0 ? views.length - 1 : random(views.length)] as View);
      const reader = watch(processes[random(processes.length)] as Watching, id, { view });
      const enough = 1 + random(20);
      await eventually(() => expect(reader.told.length).toBeGreaterThanOrEqual(enough));
      reader.leave();
      await reader.done;
      views.push(copyOf(view));
      all.push(view);
    }
    isEnough = true;
    await writing;
    await changeSession(processes[0] as Watching, ROOT, { id, move: { to: "end" } });
    const last = copyOf(views.at(-1) as View);
    watch(processes[0] as Watching, id, { view: last });
    all.push(last);
    await eventually(async () => expect(shownBy(last)).toEqual(await shownAfresh(dbs[0] as Db, id)));

    expect(all.flatMap(({ wrongs }) => wrongs)).toEqual([]);
    const pieces = all.flatMap((view) => view.said);
    const strange = pieces.filter(({ text }) => !said.get(text.slice(0, text.indexOf(":") + 1))?.startsWith(text));
    expect(strange).toEqual([]);
    expect(pieces.length).toBeGreaterThan(20);
  });
});
