import type { z } from "zod";

/** Texts that are kept for a while, by their keys. Any may be gone at any time: nothing but speed rests on them. */
export type Cache = {
  /** null where there is none, or none was given in time. */
  get(key: string): Promise<string | null>;
  put(key: string, text: string): void;
};

/** Longer texts are not kept, in UTF-16 units. */
const MOST = 262_144;

/**
 * Keeps what is true of a conversation at a revision. Every change takes the next one, so that a value is never taken
 * back: it no longer fits.
 */
export function keepAt(cache: Cache, key: string, { rev, value }: { rev: number; value: unknown }): void {
  const text = `${rev} ${JSON.stringify(value)}`;
  if (text.length <= MOST) cache.put(key, text);
}

/** A value out of its text, if it was kept at this revision; undefined as well where the text is none of ours. */
export function keptAt<T>(text: string | null, rev: number, schema: z.ZodType<T>): T | undefined {
  const stamp = `${rev} `;
  if (!text?.startsWith(stamp)) return undefined;
  const value = parsed(text.slice(stamp.length));
  return fits(schema, value) ? value : undefined;
}

// The value itself goes on, and not the schema's copy: that is slower, and drops a field that is named `__proto__`.
const fits = <T>(schema: z.ZodType<T>, value: unknown): value is T => schema.safeParse(value).success;

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // cut off, or somebody else's
  }
}
