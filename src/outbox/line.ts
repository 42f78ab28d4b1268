import { sleep } from "../core/time.ts";
import { STOPPED } from "./deliver.ts";
import type { Receiver } from "./pace.ts";

/** Works on a conversation; tells whether there is more to do. Never rejects. */
type Work = (id: string, stop: AbortController) => Promise<boolean>;

/** Conversations in line, each worked on once at a time, and as many at once as the receiver has room for. */
export type Line = {
  put(id: string): void;
  goOn(): void;
  waiting(): number;
  /** Begins nothing more; what still runs after `ms` is stopped. */
  stop(ms: number): Promise<void>;
};

export function createLine(receiver: Pick<Receiver, "room">, work: Work): Line {
  const waiting = new Set<string>();
  const running = new Map<string, { stop: AbortController; ended: Promise<void> }>();
  let isOver = false;

  function goOn(): void {
    for (const id of waiting) {
      if (isOver || running.size >= receiver.room()) return;
      if (running.has(id)) continue;
      waiting.delete(id);
      start(id);
    }
  }
  function start(id: string): void {
    const stop = new AbortController();
    const ended = work(id, stop).then((again) => {
      running.delete(id);
      if (again) waiting.add(id);
      goOn();
    });
    running.set(id, { stop, ended });
  }
  return {
    put: (id) => void waiting.add(id),
    goOn,
    waiting: () => waiting.size,
    async stop(ms) {
      isOver = true;
      const ended = Promise.all([...running.values()].map((one) => one.ended));
      const late = new AbortController();
      await Promise.race([ended, sleep(ms, late.signal)]);
      late.abort();
      for (const { stop } of running.values()) stop.abort(STOPPED);
      await ended;
    },
  };
}
