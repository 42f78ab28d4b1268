import type { Fault } from "./fault.ts";
import { cancels, halves } from "./fault-halves.ts";
import { refusals } from "./fault-refusals.ts";
import { silences } from "./fault-silences.ts";
import { workers } from "./fault-workers.ts";

/** Every way in which a provider is tried. */
export const faults: readonly Fault[] = [...refusals, ...silences, ...halves, ...cancels, ...workers];
