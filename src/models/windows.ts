import { capabilitiesOf } from "./capabilities.ts";
import type { Measure } from "./refusal-words.ts";

/** A refusal that names no number: the window is taken to hold this share of what was sent. */
const GUESS = 0.7;
/** No window is believed to be smaller, in tokens. */
const LEAST = 512;
/** Models are named by requests, so what is remembered of them has to be bounded. */
const REMEMBERED_MOST = 1_000;

export type Windows = ReturnType<typeof createWindows>;

/**
 * How much each target (`provider/model`) takes in, in tokens. What a refusal has measured comes first, then the
 * configuration (`given`), then what the server says of itself, then what is known of the model. There is always room for
 * the `configured` targets, whatever names requests make up.
 */
export function createWindows(given: ReadonlyMap<string, number>, configured: ReadonlySet<string> = new Set()) {
  const measured = new Map<string, number>();
  const told = new Map<string, number>();

  const hasRoom = (map: ReadonlyMap<string, number>, target: string) =>
    map.has(target) || map.size < REMEMBERED_MOST || configured.has(target);
  const knownOf = (target: string) => measured.get(target) ?? given.get(target) ?? told.get(target);

  function windowOf(target: string): number {
    return knownOf(target) ?? capabilitiesOf(target).window;
  }

  return {
    windowOf,
    /** Whether somebody has said how large it is; otherwise it may be larger than `windowOf` says. */
    isKnown: (target: string): boolean => knownOf(target) !== undefined || capabilitiesOf(target).isWindowKnown,
    /** What a server says of its models. */
    tell(target: string, window: number): void {
      if (window >= LEAST && hasRoom(told, target)) told.set(target, window);
    },
    /**
     * A prompt of `estimated` tokens, by our own count, was too long. Where the server's count is higher than ours, the
     * window shrinks by as much, so that the next prompt fits by its count.
     */
    learn(target: string, { estimated, measure }: { estimated: number; measure: Measure | undefined }): void {
      const ratio = measure?.prompt ? Math.min(1, estimated / measure.prompt) : 1;
      const window = measure ? Math.floor(measure.window * ratio) : Math.floor(estimated * GUESS);
      if (!hasRoom(measured, target)) return;
      measured.set(target, Math.max(LEAST, Math.min(window, windowOf(target) - 1)));
    },
  };
}
