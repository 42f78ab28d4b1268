import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { memoryOf } from "./story-process.ts";

/** What was seen of a service for a while: how much more memory it took, and how long it said nothing, in milliseconds. */
export type Seen = { grownBy: number; silentMs: number; answers: number };

/**
 * Looks at a process's memory, and asks whether it lives, again and again until it is stopped, and has been answered so often since. What a bare server in this
 * process takes in the same moment is the machine's doing, and is taken off.
 */
export async function watchService(
  { url, pid }: { url: string; pid: number },
  before: number,
): Promise<(answers: number) => Promise<Seen>> {
  const bare = createServer((_, response) => void response.end()).listen(0, "127.0.0.1");
  await once(bare, "listening");
  const bareUrl = `http://127.0.0.1:${(bare.address() as AddressInfo).port}/`;
  const seen: Seen = { grownBy: 0, silentMs: 0, answers: 0 };
  let last = Infinity;
  const sampling = setInterval(() => {
    seen.grownBy = Math.max(seen.grownBy, memoryOf(pid) - before);
  }, 25);
  const asking = (async () => {
    while (seen.answers < last) {
      const [own, machine] = await Promise.all([timed(`${url}/health/live`), timed(bareUrl)]);
      seen.silentMs = Math.max(seen.silentMs, own - machine);
      seen.answers++;
      await sleep(BETWEEN_MS);
    }
  })();
  return async (answers) => {
    last = seen.answers + answers;
    await asking;
    clearInterval(sampling);
    bare.close();
    return seen;
  };
}

/** Between two questions, in milliseconds. */
const BETWEEN_MS = 25;

async function timed(url: string): Promise<number> {
  const began = performance.now();
  await (await fetch(url)).text();
  return performance.now() - began;
}
