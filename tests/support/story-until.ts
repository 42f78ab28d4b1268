import { setTimeout as sleep } from "node:timers/promises";

/** Looks every few milliseconds until it is so, also outside of a test; throws with `what` when it does not come to be. */
export async function until(what: string, isSo: () => boolean | Promise<boolean>, ms = 60_000): Promise<void> {
  const last = performance.now() + ms;
  while (!(await isSo())) {
    if (performance.now() > last) throw new Error(`waited in vain: ${what}`);
    await sleep(5);
  }
}
