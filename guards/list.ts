import { edge } from "./edge.ts";
import { erasure } from "./erasure.ts";
import type { Guard } from "./guard.ts";
import { identity } from "./identity.ts";
import { limits } from "./limits.ts";
import { models } from "./models.ts";
import { ownership } from "./ownership.ts";
import { patience } from "./patience.ts";
import { sessions } from "./sessions.ts";
import { setup } from "./setup.ts";
import { stream } from "./stream.ts";
import { wire } from "./wire.ts";

export const guards: readonly Guard[] = [
  ...ownership,
  ...identity,
  ...edge,
  ...limits,
  ...patience,
  ...wire,
  ...models,
  ...sessions,
  ...stream,
  ...setup,
  ...erasure,
];
