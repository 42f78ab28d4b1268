import type { Cache } from "../core/cache.ts";
import type { Redis } from "./redis.ts";

/** How long a text is kept, in seconds. */
const KEPT_S = 600;

/** What all instances on one Redis share; empty while it is away. */
export function sharedCache({ ask }: Redis): Cache {
  const nameOf = (key: string) => `parley:${key}`;
  return {
    get: async (key) => (await ask((client) => client.get(nameOf(key)))) ?? null,
    put(key, text) {
      void ask((client) => client.set(nameOf(key), text, { expiration: { type: "EX", value: KEPT_S } }));
    },
  };
}
