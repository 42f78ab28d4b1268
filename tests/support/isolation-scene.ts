import { expect } from "vitest";
import type { Called } from "./app.ts";
import { expectProblem } from "./http-expect.ts";
import { type Asking, mayBeBusy, type Route, requestTo } from "./isolation-document.ts";
import type { Operation, Rows } from "./isolation-operations.ts";
import { type Caller, noRows, somebody, type World, withoutRequestId } from "./isolation-world.ts";

export type Scene = {
  operation: Operation;
  route: Route;
  owner: Caller;
  rows: Rows;
  strangers: Caller[];
  ask(caller: Caller, asking: Asking, key?: string): Promise<Called>;
  /** Somebody finds the owner's rows as little as what is not there. */
  notFound(caller: Caller, asking: Omit<Asking, "rows"> & { key?: string }): Promise<void>;
  /** The owner is shown the same before and after, nothing is stored, and no provider hears of it. */
  untouched(work: () => Promise<void>): Promise<void>;
};

/** An owner with rows that an operation reaches for, and strangers. */
export async function givenScene(world: World, tried: { operation: Operation; route: Route }): Promise<Scene> {
  const { operation, route } = tried;
  const { provider } = world;
  const owner = somebody();
  const rows = await world.given(owner, operation.running === true || mayBeBusy(route));
  const strangers = [somebody(), ...(operation.agent === "served" ? [] : [somebody("agent")])];
  const ask: Scene["ask"] = (caller, asking, key) => {
    const named = asking.named?.user;
    const more = { ...(key && { key }), ...(named !== undefined && { named }) };
    return world.call(caller, requestTo(route, operation, asking), more);
  };
  return {
    ...{ ...tried, owner, rows, strangers, ask },
    async notFound(caller, { key, ...asking }) {
      const foreign = await ask(caller, { ...asking, rows }, key);
      const unknown = await ask(caller, { ...asking, rows: noRows() });
      expectProblem(foreign, 404, "not_found");
      expect(said(foreign)).toEqual(said(unknown));
      expect([...foreign.headers.keys()]).toEqual([...unknown.headers.keys()]);
    },
    async untouched(work) {
      const before = await world.everything(owner, rows);
      const [asked, busy] = [provider.asked.length, provider.busy()];
      await work();
      expect(await world.everything(owner, rows)).toEqual(before);
      expect([provider.asked.length, provider.busy()]).toEqual([asked, busy]);
    },
  };
}

/** What a caller was told, beside the id of the request. */
export const said = ({ status, json, text }: Called) => ({ status, said: withoutRequestId(json ?? text) });
