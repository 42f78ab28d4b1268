import { expect } from "vitest";
import type { Called } from "./app.ts";
import { expectProblem, PATIENT } from "./http-expect.ts";
import { type Asking, mayBeBusy } from "./isolation-document.ts";
import type { Rows } from "./isolation-operations.ts";
import { type Caller, somebody } from "./isolation-people.ts";
import { noRows } from "./isolation-rows.ts";
import { type Tried, type World, withoutRequestId } from "./isolation-world.ts";

export type Scene = Tried & {
  owner: Caller;
  rows: Rows;
  strangers: Caller[];
  ask(caller: Caller, asking: Asking, key?: string): Promise<Called>;
  /** Somebody finds the owner's rows as little as what is not there. */
  notFound(caller: Caller, asking: Omit<Asking, "rows"> & { key?: string }): Promise<void>;
  /** The owner is shown the same before and after, nothing is stored, and no provider hears of it. */
  untouched(work: () => Promise<void>): Promise<void>;
  /** What a caller was told, once the turn that it began, if any, has ended; its state is left out. */
  settled(called: Called): Promise<unknown>;
};

/** An owner with rows that an operation reaches for, and strangers: an agent is one unless they are live. */
export async function givenScene(world: World, tried: Tried, { live }: { live: boolean }): Promise<Scene> {
  const { operation, route } = tried;
  const { provider } = world;
  const owner = somebody();
  const running = operation.running === true || mayBeBusy(route, operation);
  const rows = await world.given(owner, { running, live, waits: live && operation.waits === true });
  const strangers = [somebody(), ...(live ? [] : [somebody("agent")])];
  const ask: Scene["ask"] = (caller, asking, key) => world.ask(caller, tried, asking, key);
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
    async settled(called) {
      const { turn, ...others } = called.json ?? {};
      if (!turn) return said(called);
      const path = `/api/v1/turns/${turn.id}`;
      const status = async () => (await world.call(owner, { method: "GET", path })).json.status;
      await expect.poll(status, PATIENT).toBe("completed");
      return said({ ...called, json: { ...others, turn: turn.id } });
    },
  };
}

/** What a caller was told, beside the id of the request. */
export const said = ({ status, json, text }: Called) => ({ status, said: withoutRequestId(json ?? text) });
