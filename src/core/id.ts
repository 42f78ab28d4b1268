import { randomUUID } from "node:crypto";
import type { Step } from "../db/db.ts";

/** What somebody else has made before it is stored here. */
export type Given = {
  /** The id that it has there. */
  id?: string;
  /** What is noted of it in the same commit. */
  also?: readonly Step<unknown>[];
};

/** A millisecond has so many places. */
const PLACES = 0x1000;

let lastMs = 0;
let place = 0;

/**
 * A UUIDv7 (RFC 9562, section 6.2, method 1): the time in milliseconds, a counter within it, then the random part of a v4,
 * which the runtimes make fastest. Of one process each is higher than those before it, also where the clock is set back.
 */
export function newId(): string {
  const now = Date.now();
  if (now > lastMs) {
    lastMs = now;
    place = 0;
  } else if (++place === PLACES) {
    lastMs++;
    place = 0;
  }
  const time = lastMs.toString(16).padStart(12, "0");
  return `${time.slice(0, 8)}-${time.slice(8)}-7${place.toString(16).padStart(3, "0")}${randomUUID().slice(18)}`;
}
