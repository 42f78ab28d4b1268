import type { Models } from "../core/model.ts";
import type { Observe } from "../core/observe.ts";
import { beginCall, closeCall, failCall, hear, restOf, waits } from "./call.ts";
import type { Registry } from "./registry.ts";
import { endOf, nextCall, openRoute, type Timeouts, takeDown } from "./route.ts";

export type { Timeouts };

/** Where chance comes from, and who is told of each attempt. */
type More = { random?: () => number; attempted?: Observe["attempt"] };

/**
 * Runs a turn over the targets of its plan: the only retry loop there is. Every way in which it can fail ends in a
 * `failed` event. Text of two calls is never spliced: the first text of a later one is preceded by a `restart`, so what
 * an earlier one said stands until then.
 */
export function createDispatch(
  registry: Registry,
  timeouts: Timeouts,
  { random = Math.random, attempted = () => {} }: More = {},
): Models["dispatch"] {
  return async function* (plan, prompt, signal) {
    const route = openRoute({ registry, timeouts, random, attempted }, { plan, signal });
    for (let call = await nextCall(route); call; call = await nextCall(route)) {
      try {
        for await (const event of await beginCall(call, registry, { plan, prompt })) {
          for (const told of hear(call, event)) yield told;
          waits(call);
        }
        call.isOver = true;
      } catch (error) {
        failCall(call, error);
      } finally {
        closeCall(call);
      }
      yield* restOf(call);
      takeDown(route, call);
    }
    yield endOf(route);
  };
}
