import { onTestFinished } from "vitest";
import { openBus } from "../../src/bus/bus.ts";
import { createDesks, type Desks } from "../../src/core/desks.ts";
import { type News, watchSession } from "../../src/core/events.ts";
import type { Actor } from "../../src/core/identity.ts";
import type { Bus } from "../../src/core/notes.ts";
import { createWatch, type Watch } from "../../src/core/watch.ts";
import { announcing } from "../../src/db/announcing.ts";
import type { Db } from "../../src/db/db.ts";
import { as, type Instance, startInstance } from "./core-instance.ts";
import type { TestModels } from "./core-models.ts";
import { eventually } from "./core-models.ts";
import { emptyView, hear, type View } from "./session-view.ts";

/** A process in which sessions can be watched. */
export type Watching = Instance & { bus: Bus; watch: Watch; desks: Desks };

export const ROOT = as("admin", "root");

/** Notes of other processes come over the database, where it has a way, or never. */
export async function startWatching(db: Db, models?: TestModels): Promise<Watching> {
  const bus = await openBus(db.carrier, { warn: () => {} });
  const told = announcing(db, (conversationId) => bus.send({ type: "changed", conversationId }));
  const instance = startInstance(told, models);
  const watch = createWatch({ ...instance, bus });
  const desks = createDesks({ ...instance, bus });
  onTestFinished(async () => {
    watch.stop();
    desks.stop();
    await bus.close();
  });
  return { ...instance, bus, watch, desks };
}

export type Watcher = {
  /** What it holds, as any client would put it together. */
  view: View;
  /** All that it was told, in the order of its coming. */
  told: News[number][];
  /** Resolves when it is told nothing more. */
  done: Promise<void>;
  /** Resolves once it has been told up to a revision. */
  upTo(rev: number): Promise<View>;
  leave(): void;
  /** Takes nothing until it goes on. */
  pause(): void;
  goOn(): void;
};

/** Watches a session, from its beginning or from where a view has come to. */
export function watch(
  at: Pick<Watching, "db" | "watch">,
  id: string,
  { actor = ROOT, view = emptyView(), after = view.rev }: { actor?: Actor; view?: View; after?: number } = {},
): Watcher {
  const leaving = new AbortController();
  const told: News[number][] = [];
  let gate = Promise.resolve();
  let open = () => {};
  const done = (async () => {
    for await (const news of watchSession(at, actor, { id, after, signal: leaving.signal })) {
      await gate;
      for (const one of news) {
        told.push(one);
        hear(view, one);
      }
    }
  })();
  done.catch(() => {}); // the test may look at something else first
  onTestFinished(() => leaving.abort());
  return {
    view,
    told,
    done,
    upTo: (rev) =>
      eventually(() => {
        if (view.rev < rev) throw new Error(`told up to ${view.rev}, not ${rev}`);
        return view;
      }),
    leave: () => leaving.abort(),
    pause() {
      ({ promise: gate, resolve: open } = Promise.withResolvers<void>());
    },
    goOn: () => open(),
  };
}
