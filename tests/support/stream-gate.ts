import type { Script } from "./provider.ts";

/** A text whose pieces a provider says one by one, when it is told to. */
export type Gate = {
  script: Script;
  /** Lets the next piece go; the answer ends behind the last. */
  next(): void;
  /** Lets all go. */
  open(): void;
};

export function createGate(text: string[], more: Script = {}): Gate {
  const gates = text.map(() => Promise.withResolvers<void>());
  let passed = 0;
  const next = () => gates[passed++]?.resolve();
  return {
    script: { ...more, text, before: async (i) => gates[i]?.promise },
    next,
    open() {
      while (passed < gates.length) next();
    },
  };
}
